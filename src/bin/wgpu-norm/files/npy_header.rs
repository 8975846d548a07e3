//! The header of a `.npy` file: a Python dictionary, of which what NumPy takes for that of an array is read, and no more.

use std::io::Read;

use super::ACCEPTED;

const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy's own bound. A plain array has 64 axes at most, of 20 digits at most each.
const LONGEST: u64 = 10_000;

/// The types that are read, by the names of this command and then by all that NumPy calls them in a file, after the order of
/// the bytes. Those that are of another size on another system (`l`, `long`, `int`) are none.
const TYPES: [(&str, &[&str]); 12] = [
    ("float16", &["f2", "e", "float16", "half"]),
    ("float32", &["f4", "f", "float32", "single"]),
    ("float64", &["f8", "d", "float64", "double"]),
    ("bool", &["b1", "?", "bool"]),
    ("int8", &["i1", "b", "int8"]),
    ("int16", &["i2", "h", "int16"]),
    ("int32", &["i4", "i", "int32"]),
    ("int64", &["i8", "q", "int64"]),
    ("uint8", &["u1", "B", "uint8"]),
    ("uint16", &["u2", "H", "uint16"]),
    ("uint32", &["u4", "I", "uint32"]),
    ("uint64", &["u8", "Q", "uint64"]),
];

/// What a header says.
pub(super) struct Header {
    /// One of [`TYPES`], by its first name.
    pub(super) dtype: &'static str,
    pub(super) big_endian: bool,
    pub(super) fortran: bool,
    pub(super) shape: Vec<usize>,
    /// The bytes up to the data.
    pub(super) length: u64,
}

/// Reads the magic string, the version and the header. The reader is left at the first byte of the data.
pub(super) fn read(reader: &mut impl Read, file_length: u64) -> Result<Header, String> {
    if file_length == 0 {
        return Err("the file is empty".to_owned());
    }
    let mut bytes = Vec::new();
    take(reader, 8, &mut bytes)?;
    let version = match bytes.strip_prefix(MAGIC) {
        Some(&[major, minor]) => (major, minor),
        _ => return Err(not_npy(&bytes)),
    };
    let size_bytes = match version {
        (1, 0) => 2,
        (2 | 3, 0) => 4,
        (major, minor) => {
            return Err(format!(
                "it is of version {major}.{minor} of the .npy format, and the versions known are \
                 1.0, 2.0 and 3.0"
            ));
        }
    };
    take(reader, size_bytes, &mut bytes)?;
    let length =
        bytes.get(8..).unwrap_or_default().iter().rev().fold(0_u64, |length, &byte| length << 8 | u64::from(byte));
    let left = file_length.saturating_sub(8 + size_bytes);
    if length > left {
        return Err(format!(
            "it is cut short or corrupt: its header is said to take {length} bytes, and {left} are \
             left in the file"
        ));
    }
    if length > LONGEST {
        return Err(format!("it is corrupt: a header of {length} bytes is longer than that of any plain array"));
    }
    let text_at = bytes.len();
    take(reader, length, &mut bytes)?;
    match std::str::from_utf8(bytes.get(text_at..).unwrap_or_default()) {
        Ok(text) => Rest(text).header(bytes.len() as u64),
        Err(_) => Err("its header isn't UTF-8 text, as that of a plain array is".to_owned()),
    }
}

/// Appends the next `count` bytes, or says that the file is too short for a header.
fn take(reader: &mut impl Read, count: u64, bytes: &mut Vec<u8>) -> Result<(), String> {
    match reader.by_ref().take(count).read_to_end(bytes) {
        Ok(read) if read as u64 == count => Ok(()),
        Ok(_) if bytes.starts_with(MAGIC) || MAGIC.starts_with(bytes) => {
            Err("it is cut short: it ends within its header".to_owned())
        }
        Ok(_) => Err(not_npy(bytes)),
        Err(error) => Err(super::said(&error)),
    }
}

/// Says what a file looks like that begins with other bytes.
fn not_npy(start: &[u8]) -> String {
    let hint = if start.starts_with(b"PK\x03\x04") {
        "it is a zip archive, like .npz and .pt files: save the one array with numpy.save"
    } else if start.get(2..8) == Some(&[0; 6]) {
        "if it is a safetensors file, its name has to end in .safetensors"
    } else {
        "write one with numpy.save"
    };
    format!("it isn't a .npy file, as its first bytes show ({hint})")
}

fn corrupt(found: &str) -> String {
    format!("its header is corrupt: {found}")
}

/// What is left of the text.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Reads the whole dictionary.
    fn header(mut self, length: u64) -> Result<Header, String> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        if !self.takes('{') {
            return Err(corrupt("it isn't a dictionary"));
        }
        while !self.takes('}') {
            let key = self.string()?;
            self.needs(':')?;
            match key {
                "descr" if self.next().is_some_and(|next| matches!(next, '[' | '(')) => {
                    return Err(format!("its dtype is a structured type; {ACCEPTED}"));
                }
                "descr" => descr = Some(self.string()?),
                "fortran_order" => {
                    fortran = Some(match self.run(|c| c.is_ascii_alphanumeric()) {
                        "True" => true,
                        "False" => false,
                        _ => return Err(corrupt("its `fortran_order` is neither True nor False")),
                    });
                }
                "shape" => shape = Some(self.shape()?),
                other => return Err(corrupt(&format!("`{other}` has no place in it"))),
            }
            if !self.takes(',') {
                self.needs('}')?;
                break;
            }
        }
        if let Some(next) = self.next() {
            return Err(corrupt(&format!("{next:?} follows its end")));
        }
        let lacks = |key: &str| corrupt(&format!("it has no `{key}`"));
        let (dtype, big_endian) = dtype(descr.ok_or_else(|| lacks("descr"))?)?;
        let fortran = fortran.ok_or_else(|| lacks("fortran_order"))?;
        let shape = shape.ok_or_else(|| lacks("shape"))?;
        Ok(Header { dtype, big_endian, fortran, shape, length })
    }

    /// The next character that is no white space; it stays.
    fn next(&mut self) -> Option<char> {
        self.0 = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
        self.0.chars().next()
    }

    /// Goes past the character, if it is the next one.
    fn takes(&mut self, wanted: char) -> bool {
        let found = self.next() == Some(wanted);
        if found {
            self.0 = self.0.strip_prefix(wanted).unwrap_or_default();
        }
        found
    }

    fn needs(&mut self, wanted: char) -> Result<(), String> {
        if self.takes(wanted) {
            return Ok(());
        }
        Err(corrupt(&match self.run(|c| c.is_ascii_alphanumeric()) {
            "" => match self.next() {
                Some(next) => format!("it has {next:?} where {wanted:?} belongs"),
                None => format!("it ends where {wanted:?} belongs"),
            },
            word => format!("it has `{word}` where {wanted:?} belongs"),
        }))
    }

    /// Goes past all characters that belong.
    fn run(&mut self, belong: impl Fn(char) -> bool) -> &'a str {
        self.next();
        let text = self.0;
        let end = text.find(|c| !belong(c)).unwrap_or(text.len());
        let (run, rest) = text.split_at(end);
        self.0 = rest;
        run
    }

    /// A string without escapes, which no header needs. Python 2 may put a `u` before it.
    fn string(&mut self) -> Result<&'a str, String> {
        self.takes('u');
        let quote = if self.takes('"') { '"' } else { '\'' };
        if quote != '"' {
            self.needs(quote)?;
        }
        let (text, rest) = self.0.split_once(quote).ok_or_else(|| corrupt("a string in it does not end"))?;
        if let Some(odd) = text.chars().find(|&c| c == '\\' || c.is_control()) {
            return Err(corrupt(&format!("the character {odd:?} has no place in a string")));
        }
        self.0 = rest;
        Ok(text)
    }

    /// A tuple of whole numbers. Python 2 may put an `L` after each.
    fn shape(&mut self) -> Result<Vec<usize>, String> {
        const NO_TUPLE: &str = "its `shape` is no tuple of whole numbers";
        if !self.takes('(') {
            return Err(corrupt(NO_TUPLE));
        }
        let mut shape = Vec::new();
        while !self.takes(')') {
            if self.takes('-') {
                return Err(corrupt("its `shape` has a negative number, which no dimension is"));
            }
            let digits = self.run(|c| c.is_ascii_digit());
            if digits.is_empty() {
                self.needs(')')?;
                break;
            }
            let too_large = |_| "its shape is larger than any memory".to_owned();
            shape.push(digits.parse().map_err(too_large)?);
            self.takes('L');
            if !self.takes(',') {
                self.needs(')')?;
                // What Python takes for a number in brackets.
                if shape.len() == 1 {
                    return Err(corrupt(NO_TUPLE));
                }
                break;
            }
        }
        Ok(shape)
    }
}

/// The type that a `descr` means, by its name in [`TYPES`], and whether its bytes come in big order.
fn dtype(descr: &str) -> Result<(&'static str, bool), String> {
    let native_is_big = cfg!(target_endian = "big");
    let (code, big_endian) = match descr.strip_prefix(['<', '>', '=', '|']) {
        Some(code) => (code, if descr.starts_with(['<', '>']) { descr.starts_with('>') } else { native_is_big }),
        None => (descr, native_is_big),
    };
    match TYPES.iter().find(|(_, codes)| codes.contains(&code)) {
        Some(&(name, _)) => Ok((name, big_endian)),
        None => Err(match other(code) {
            Some(name) => format!("its dtype is {name}; {ACCEPTED}"),
            None => corrupt(&format!("its `descr` is `{descr}`, which names no type")),
        }),
    }
}

/// NumPy's name of a type that is not read.
fn other(code: &str) -> Option<String> {
    let mut chars = code.chars();
    let kind = chars.next()?;
    let rest = chars.as_str();
    let bits = rest.parse::<u32>().ok().map(|bytes| bytes.saturating_mul(8));
    Some(match (kind, bits) {
        ('f', Some(bits)) => format!("float{bits}"),
        ('c', Some(bits)) => format!("complex{bits}"),
        ('m', _) if rest.starts_with('8') => "timedelta64".to_owned(),
        ('M', _) if rest.starts_with('8') => "datetime64".to_owned(),
        ('S', _) => "bytes".to_owned(),
        ('U', _) => "str".to_owned(),
        ('O', _) => "object (a pickle)".to_owned(),
        // What NumPy writes for the types of ml_dtypes, bfloat16 among them.
        ('V', Some(16)) => {
            "void16, raw bytes, which is how NumPy writes bfloat16 too: save it as float32, or as BF16 in \
                            a safetensors file"
                .to_owned()
        }
        ('V', Some(bits)) => format!("void{bits}, raw bytes of no known meaning"),
        _ => return None,
    })
}
