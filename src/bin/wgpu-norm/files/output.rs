//! Writing outputs: all those of one call, or none.
//!
//! Every output is first written in full to a temporary file in the directory it belongs to. Only
//! when all are there are they renamed to their names, which replaces what was there in one step.
//! If a rename fails, those before it are taken back.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use ndarray::ArrayD;
use tempfile::{Builder, NamedTempFile, TempPath};
use wgpu_norm::Element;
use wgpu_norm::sample::stored;

use super::{Location, npy, safetensors};
use crate::failure::{Failure, note};
use crate::progress::Progress;

/// The name of a temporary file begins and ends like this, so that one left behind by a crash
/// says where it came from.
const PREFIX: &str = ".wgpu-norm-";
const SUFFIX: &str = ".tmp";
/// How many symbolic links are followed, as on Linux.
const LINKS: usize = 40;
/// How many values are written between two moves of the progress bar.
const STRIDE: usize = 1 << 20;

/// An array to write: what it is, the option that asks for it, and the path as given.
pub(crate) type ToWrite<'a> = (&'static str, &'static str, &'a Path);

/// A file to write, found to be possible.
#[derive(Debug)]
pub(crate) struct Target {
    /// The option that asks for it and the path as given, for messages.
    option: &'static str,
    given: PathBuf,
    /// The directory, without links, and the name in it.
    directory: PathBuf,
    name: OsString,
    /// Those of the file that is there already.
    permissions: Option<Permissions>,
    /// Which of the arrays that are asked for lie in it, and by what names if it is a `.safetensors` file.
    holds: Vec<(usize, Option<String>)>,
}

/// An output that is written, but not under its name yet.
#[derive(Debug)]
pub(crate) struct Staged {
    target: Target,
    file: NamedTempFile,
}

/// An output that has its name: what it is, where it lies, its shape and what it is stored as.
#[derive(Debug)]
pub(crate) struct Written<'a> {
    pub(crate) name: &'static str,
    pub(crate) path: &'a Path,
    pub(crate) shape: Vec<usize>,
    pub(crate) element: Element,
}

/// What it takes to undo a rename.
enum Undo {
    /// There was no such file.
    Remove(PathBuf),
    /// The former file, under a temporary name.
    Restore(TempPath, PathBuf),
}

/// Checks that each path can be written and that no two are the same file, by the options that ask for them.
pub(crate) fn whole(asked: &[(&'static str, &Path)]) -> Result<Vec<Target>, Failure> {
    let mut found = Vec::new();
    for (at, &(option, path)) in asked.iter().enumerate() {
        add(&mut found, option, path, (at, None))?;
    }
    Ok(found)
}

/// The same of arrays, of which several may be tensors of one `.safetensors` file.
pub(crate) fn targets(asked: &[ToWrite<'_>]) -> Result<Vec<Target>, Failure> {
    let mut found = Vec::new();
    for (at, &(_, option, path)) in asked.iter().enumerate() {
        match Location::parse(option, path, |_| String::new())? {
            Location::Npy(path) => add(&mut found, option, &path, (at, None))?,
            // Under this name the format has what is no tensor.
            Location::Tensor { name, .. } if name == "__metadata__" => {
                return Err(Failure::Usage(format!("{option}: no tensor can have the name `{name}`")));
            }
            Location::Tensor { file, name } => add(&mut found, option, &file, (at, Some(name)))?,
        }
    }
    found.iter().try_for_each(Target::loses_none)?;
    Ok(found)
}

fn add(
    found: &mut Vec<Target>,
    option: &'static str,
    given: &Path,
    held: (usize, Option<String>),
) -> Result<(), Failure> {
    let mut target = Target::find(option, given)
        .and_then(|target| target.temporary().map(|_| target))
        .map_err(|reason| cannot_write(option, given, &reason.to_string()))?;
    let Some(other) = found.iter_mut().find(|other| other.same_file(&target)) else {
        target.holds.push(held);
        found.push(target);
        return Ok(());
    };
    let apart = |(_, name): &(usize, Option<String>)| name.is_some() && held.1.is_some() && *name != held.1;
    if other.holds.iter().all(apart) {
        other.holds.push(held);
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{} `{}` and {option} `{}` are the same {}, and each output needs its own",
        other.option,
        other.given.display(),
        given.display(),
        held.1.map_or_else(|| "file".to_owned(), |name| format!("tensor `{name}`"))
    )))
}

fn cannot_write(option: &str, given: &Path, reason: &str) -> Failure {
    Failure::Failed(format!("cannot write `{}` ({option}): {reason}", given.display()))
}

impl Target {
    fn find(option: &'static str, given: &Path) -> io::Result<Self> {
        let ends_in_separator =
            given.as_os_str().as_encoded_bytes().last().is_some_and(|&byte| std::path::is_separator(char::from(byte)));
        let permissions = match fs::metadata(given) {
            Ok(metadata) if metadata.is_dir() => return Err(io::Error::other("it is a directory")),
            Ok(metadata) if !metadata.is_file() => {
                return Err(io::Error::other("it is not a regular file, and outputs are put in place by renaming"));
            }
            Ok(metadata) if metadata.permissions().readonly() => {
                return Err(io::Error::other("it is read-only"));
            }
            Ok(metadata) => Some(metadata.permissions()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let path = follow(given)?;
        let name = match path.file_name() {
            Some(name) if !ends_in_separator => name.to_owned(),
            _ => return Err(io::Error::other("it names no file")),
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let directory = fs::canonicalize(parent).map_err(|error| {
            let parent = parent.display();
            match error.kind() {
                io::ErrorKind::NotFound => io::Error::other(format!("there is no directory `{parent}`")),
                _ => io::Error::other(format!("its directory `{parent}`: {error}")),
            }
        })?;
        if !directory.is_dir() {
            let parent = parent.display();
            return Err(io::Error::other(format!("`{parent}` is not a directory")));
        }
        Ok(Self { option, given: given.to_owned(), directory, name, permissions, holds: Vec::new() })
    }

    /// Refuses to replace a `.safetensors` file by one without its other tensors, such as a whole model.
    fn loses_none(&self) -> Result<(), Failure> {
        let written: Vec<&str> = self.holds.iter().filter_map(|(_, name)| name.as_deref()).collect();
        // A file that cannot be read as such has none to lose.
        let there = safetensors::names(&self.path()).unwrap_or_default();
        let lost: Vec<String> = there.into_iter().filter(|name| !written.contains(&name.as_str())).collect();
        if written.is_empty() || lost.is_empty() {
            return Ok(());
        }
        let listing = safetensors::listing(&lost, None);
        let reason = format!("its other tensors would be lost ({listing}); name another file, or delete this one");
        Err(cannot_write(self.option, &self.given, &reason))
    }

    fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    fn same_file(&self, other: &Self) -> bool {
        // These systems take names that differ in case alone for the same.
        if cfg!(any(windows, target_os = "macos")) {
            let folded = |target: &Self| target.path().to_string_lossy().to_lowercase();
            return folded(self) == folded(other);
        }
        self.path() == other.path()
    }

    /// Writes those of the arrays that it is to hold to a temporary file beside the target.
    fn stage(mut self, arrays: &[Array<'_>]) -> Result<Staged, Failure> {
        let holds = std::mem::take(&mut self.holds);
        let held = holds.iter().filter_map(|(at, name)| Some((name.as_deref(), *arrays.get(*at)?)));
        let mut held: Vec<(Option<&str>, Array<'_>)> = held.collect();
        // So that each starts at a multiple of its elements' size.
        held.sort_by_key(|(_, array)| std::cmp::Reverse(array.element.size()));
        let header = match held.as_slice() {
            [(None, Array { values, element })] => npy::header(values.shape(), *element),
            tensors => safetensors::header(
                tensors
                    .iter()
                    .map(|(name, Array { values, element })| (name.unwrap_or_default(), values.shape(), *element)),
            ),
        };
        let bytes = held.iter().map(|(_, array)| array.values.len() as u64 * array.element.size()).sum();
        let progress = Progress::bytes(format!("writing {}", self.given.display()), bytes);
        self.stage_by(|file| {
            file.write_all(&header?)?;
            held.iter().try_for_each(|(_, array)| array.write(file, &progress))
        })
    }

    /// Writes these bytes to a temporary file beside the target.
    pub(crate) fn stage_bytes(self, bytes: &[u8]) -> Result<Staged, Failure> {
        self.stage_by(|file| file.write_all(bytes))
    }

    fn stage_by(self, contents: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>) -> Result<Staged, Failure> {
        match self.write(contents) {
            Ok(file) => Ok(Staged { target: self, file }),
            Err(error) => Err(cannot_write(self.option, &self.given, &error.to_string())),
        }
    }

    /// An empty file in the directory of the target.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let mut builder = Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        // Not the 0600 of a temporary file: the umask takes its part from this, as for any file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        builder.tempfile_in(&self.directory).map_err(|error| {
            io::Error::other(format!(
                "no file can be made in `{}`: {}",
                self.directory.display(),
                // Without the random name that the error has, too.
                io::Error::from(error.kind())
            ))
        })
    }

    fn write(&self, contents: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>) -> io::Result<NamedTempFile> {
        let mut file = self.temporary()?;
        let mut buffered = BufWriter::with_capacity(1 << 20, file.as_file_mut());
        contents(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        if let Some(permissions) = &self.permissions {
            file.as_file().set_permissions(permissions.clone())?;
        }
        // Else a crash of the system soon after the rename could leave an empty file.
        file.as_file().sync_all()?;
        Ok(file)
    }
}

/// Values, and what they are stored as.
#[derive(Clone, Copy)]
struct Array<'a> {
    values: &'a ArrayD<f32>,
    element: Element,
}

impl Array<'_> {
    /// In C order.
    fn write(self, file: &mut BufWriter<&mut File>, progress: &Progress) -> io::Result<()> {
        let values = self.values.as_standard_layout();
        for part in values.as_slice().unwrap_or_default().chunks(STRIDE) {
            let bytes = self.element.bytes_of(part);
            file.write_all(&bytes)?;
            progress.advance(bytes.len() as u64);
        }
        Ok(())
    }
}

/// Writes arrays to the targets found for them, all or none. `values` is given what each is; `x` is what an array of the size of the
/// input is stored as.
pub(crate) fn write<'a, 'b>(
    asked: &[ToWrite<'a>],
    targets: Vec<Target>,
    x: Element,
    values: impl Fn(&str) -> Option<&'b ArrayD<f32>>,
) -> Result<Vec<Written<'a>>, Failure> {
    let mut arrays = Vec::new();
    let mut written = Vec::new();
    for &(name, option, path) in asked {
        let Some(values) = values(name) else {
            return Err(Failure::Failed(format!("the library gave no {name} for {option}, which is a bug")));
        };
        let element = stored(name, x);
        arrays.push(Array { values, element });
        written.push(Written { name, path, shape: values.shape().to_vec(), element });
    }
    let mut notes = Vec::new();
    for Target { option, given, holds, .. } in &targets {
        if let [(at, None)] = holds.as_slice()
            && arrays.get(*at).is_some_and(|array| array.element == Element::Bf16)
        {
            let file = given.display();
            notes.push(format!(
                "`{file}` ({option}) holds bfloat16, which NumPy does not have, as uint16: \
                 numpy.load(file).view(ml_dtypes.bfloat16) shows it"
            ));
        }
    }
    commit(targets.into_iter().map(|target| target.stage(&arrays)).collect::<Result<_, _>>()?)?;
    notes.iter().for_each(|text| note(text));
    Ok(written)
}

/// The path that a chain of symbolic links leads to, whether or not it is there.
fn follow(given: &Path) -> io::Result<PathBuf> {
    let mut path = given.to_owned();
    for _ in 0..LINKS {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => {
                let to = fs::read_link(&path)?;
                path = path.parent().map(|parent| parent.join(&to)).unwrap_or(to);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(path),
        }
    }
    Err(io::Error::other("its symbolic links lead from one to the next without end"))
}

/// Gives every output its name, or leaves every file as it was.
pub(crate) fn commit(outputs: Vec<Staged>) -> Result<(), Failure> {
    let mut done: Vec<Undo> = Vec::new();
    let last = outputs.len().saturating_sub(1);
    for (at, Staged { target, file }) in outputs.into_iter().enumerate() {
        let path = target.path();
        // Nothing comes after the last one that could make it have to be undone.
        let undo = if at == last { Ok(None) } else { target.keep_former(&path).map(Some) };
        let result = undo.and_then(|undo| match file.persist(&path) {
            Ok(_) => Ok(undo),
            Err(error) => Err(error.error),
        });
        match result {
            Ok(undo) => done.extend(undo),
            Err(error) => {
                let mut reason = error.to_string();
                match roll_back(done) {
                    lost if lost.is_empty() => reason.push_str("; no output was written"),
                    lost => {
                        reason.push_str("; and the outputs written before it stayed: ");
                        reason.push_str(&lost.join("; "));
                    }
                }
                return Err(cannot_write(target.option, &target.given, &reason));
            }
        }
    }
    Ok(())
}

impl Target {
    /// Keeps the file that is there under a second name, so that it can come back.
    fn keep_former(&self, path: &Path) -> io::Result<Undo> {
        if self.permissions.is_none() {
            return Ok(Undo::Remove(path.to_owned()));
        }
        let mut builder = Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        let former = match builder.make_in(&self.directory, |second| fs::hard_link(path, second)) {
            Ok(link) => link.into_temp_path(),
            // Not every file system has hard links.
            Err(_) => {
                let copy = builder.tempfile_in(&self.directory)?.into_temp_path();
                fs::copy(path, &copy)?;
                copy
            }
        };
        Ok(Undo::Restore(former, path.to_owned()))
    }
}

/// Undoes the renames, and says what could not be undone.
fn roll_back(done: Vec<Undo>) -> Vec<String> {
    let mut lost = Vec::new();
    for undo in done.into_iter().rev() {
        match undo {
            Undo::Remove(path) => {
                if let Err(error) = fs::remove_file(&path) {
                    lost.push(format!("`{}` ({error})", path.display()));
                }
            }
            Undo::Restore(former, path) => {
                if let Err(failed) = former.persist(&path) {
                    let kept = match failed.path.keep() {
                        Ok(kept) => format!("; its former content is in `{}`", kept.display()),
                        Err(_) => String::new(),
                    };
                    lost.push(format!("`{}` ({}{kept})", path.display(), failed.error));
                }
            }
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory takes the place of an output after the checks, so that its rename fails.
    #[test]
    fn a_failed_rename_takes_back_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("old.npy"), "former").unwrap();
        let asked = [at("old.npy"), at("new.npy"), at("late.npy")];
        let asked: Vec<(&'static str, &Path)> = asked.iter().map(|path| ("--output", path.as_path())).collect();
        let staged: Vec<Staged> =
            whole(&asked).unwrap().into_iter().map(|target| target.stage_bytes(b"new").unwrap()).collect();
        fs::create_dir(at("late.npy")).unwrap();

        let failure = commit(staged).unwrap_err();

        assert!(
            matches!(&failure, Failure::Failed(text) if text.contains("late.npy")
                && text.ends_with("no output was written")),
            "{failure:?}"
        );
        assert_eq!(fs::read(at("old.npy")).unwrap(), b"former");
        assert!(!at("new.npy").exists());
        // Nothing temporary is left.
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn all_outputs_come_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("old.npy"), "former").unwrap();
        let asked = [at("old.npy"), at("new.npy")];
        let asked: Vec<(&'static str, &Path)> = asked.iter().map(|path| ("--output", path.as_path())).collect();
        let staged: Vec<Staged> =
            whole(&asked).unwrap().into_iter().map(|target| target.stage_bytes(b"new").unwrap()).collect();
        assert_eq!(fs::read(at("old.npy")).unwrap(), b"former");
        assert!(!at("new.npy").exists());

        commit(staged).unwrap();

        assert_eq!(fs::read(at("old.npy")).unwrap(), fs::read(at("new.npy")).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
