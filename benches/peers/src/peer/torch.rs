//! PyTorch on the CPU: a Python process that is told what to do line by line, and given arrays as files.

use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Call, NotInstalled, Peer};
use crate::case::{Case, Direction, EPS, GROUPS, Kind, MOMENTUM};
use crate::data::Tensors;

const SCRIPT: &str = include_str!("../../torch_bench.py");

pub struct Torch {
    python: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    about: String,
    files: TempDir,
}

impl Torch {
    pub fn open(python: &Path) -> Result<Self, Box<dyn Error>> {
        let mut python = Command::new(python)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| NotInstalled(format!("{}: {error}", python.display())))?;
        let requests = python.stdin.take().ok_or("no standard input")?;
        let answers = BufReader::new(python.stdout.take().ok_or("no standard output")?);
        let mut torch = Self { python, requests, answers, about: String::new(), files: tempfile::tempdir()? };
        let hello = torch.answer().map_err(|error| NotInstalled(error.to_string()))?;
        torch.about = hello["about"].as_str().unwrap_or_default().to_owned();
        Ok(torch)
    }

    fn ask(&mut self, request: &Value) -> Result<Value, Box<dyn Error>> {
        writeln!(self.requests, "{request}")?;
        self.answer()
    }

    /// One line of JSON, or as an error the last that Python said.
    fn answer(&mut self) -> Result<Value, Box<dyn Error>> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? > 0 {
            return Ok(serde_json::from_str(&line)?);
        }
        let mut said = String::new();
        if let Some(stderr) = &mut self.python.stderr {
            stderr.read_to_string(&mut said)?;
        }
        Err(said.lines().last().unwrap_or("Python ended without a word").into())
    }

    fn write(&self, name: &str, values: &[f32]) -> Result<String, Box<dyn Error>> {
        let path = self.files.path().join(name);
        fs::write(&path, bytemuck::cast_slice(values))?;
        Ok(path.to_str().ok_or("a temporary folder without a readable name")?.to_owned())
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}

impl Peer for Torch {
    fn about(&self) -> String {
        self.about.clone()
    }

    fn prepare(&mut self, case: &Case, tensors: &Tensors) -> Result<Box<dyn Call + '_>, Box<dyn Error>> {
        let dy = match &tensors.dy {
            Some(dy) => Some(self.write("dy", dy.as_slice().ok_or("dy is not row-major")?)?),
            None => None,
        };
        let request = json!({
            "norm": match case.kind {
                Kind::Layer => "layer",
                Kind::Rms => "rms",
                Kind::BatchTrain => "batch-train",
                Kind::BatchEval => "batch-eval",
                Kind::Group => "group",
                Kind::Instance => "instance",
            },
            "shape": case.shape,
            "has_bias": case.has_bias(),
            "channels_last": case.channels_last(),
            "groups": GROUPS,
            "eps": EPS,
            "momentum": MOMENTUM,
            "x": self.write("x", tensors.x.as_slice().ok_or("x is not row-major")?)?,
            "weight": self.write("weight", &tensors.weight)?,
            "bias": self.write("bias", &tensors.bias)?,
            "running_mean": self.write("mean", &tensors.running_mean)?,
            "running_var": self.write("var", &tensors.running_var)?,
            "dy": dy,
        });
        self.ask(&json!({ "prepare": request }))?;
        let results: &[&str] = match (case.direction, case.has_bias()) {
            (Direction::Forward, _) => &["y"],
            (Direction::Both, true) => &["dx", "dweight", "dbias"],
            (Direction::Both, false) => &["dx", "dweight"],
        };
        Ok(Box::new(Prepared { torch: self, results }))
    }
}

struct Prepared<'a> {
    torch: &'a mut Torch,
    results: &'static [&'static str],
}

impl Call for Prepared<'_> {
    fn results(&mut self) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
        let folder = self.torch.files.path();
        let paths: Vec<PathBuf> = self.results.iter().map(|name| folder.join(name)).collect();
        self.torch.ask(&json!({ "results": paths }))?;
        paths.iter().map(|path| Ok(bytemuck::pod_collect_to_vec(&fs::read(path)?))).collect()
    }

    fn run(&mut self, calls: u32) -> Result<f64, Box<dyn Error>> {
        self.torch.ask(&json!({ "run": calls }))?["seconds"].as_f64().ok_or_else(|| "no seconds".into())
    }
}
