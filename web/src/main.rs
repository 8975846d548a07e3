//! Builds the page and serves it; with `--check`, opens it in a browser without a window and says what it found.
#![cfg(not(target_arch = "wasm32"))]

mod browser;
mod build;
mod serve;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use clap::Parser;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// wgpu-norm's doctor as a page: every norm and gradient by the browser's WebGPU, against float64.
#[derive(Parser)]
struct Options {
    /// Open the page in Chromium without a window, on its GPU in software, and print the report: the exit status is 1 if it is
    /// bad, and 2 if there is none
    #[arg(long)]
    check: bool,
    /// The port to serve on [default: 8080; with --check any that is free]
    #[arg(long)]
    port: Option<u16>,
    /// Chromium or Chrome, for --check [default: whichever is found]
    #[arg(long, requires = "check")]
    browser: Option<PathBuf>,
    /// Seconds to wait for the report, for --check
    #[arg(long, requires = "check", default_value_t = 300)]
    timeout: u64,
}

/// What to go by.
enum Event {
    /// The page is done.
    Found(serve::Found),
    /// Somebody wants this to end.
    Stop,
}

const BAD: u8 = 1;
const NO_REPORT: u8 = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(BAD),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(NO_REPORT)
        }
    }
}

/// Whether all is well.
fn run(options: &Options) -> Result<bool> {
    // Before a build that takes a minute.
    let browser = if options.check { Some(browser::find(options.browser.as_deref())?) } else { None };
    let page = build::page()?;
    let (events, next) = mpsc::channel();
    let address = {
        let events = events.clone();
        let port = options.port.unwrap_or(if options.check { 0 } else { 8080 });
        // Once nobody waits any more, this program is ending.
        serve::start(page, port, move |found| drop(events.send(Event::Found(found))))?
    };
    // Or a browser without a window would outlive this program.
    ctrlc::set_handler(move || drop(events.send(Event::Stop)))?;
    let Some(browser) = browser else {
        say(&format!("{address} is the page: open it in a browser with WebGPU. Ctrl-C ends this.\n"));
        while let Event::Found(found) = next.recv()? {
            say(&format!("\n{}\n", found.text));
        }
        return Ok(true);
    };
    let mut opened = browser::Opened::new(&browser, &address)?;
    let end = Instant::now() + Duration::from_secs(options.timeout);
    loop {
        match next.recv_timeout(Duration::from_millis(200)) {
            Ok(Event::Found(found)) => {
                say(&format!("{}\n", found.text));
                // A page that could not check anything has no verdict.
                return found.trusted.ok_or_else(|| "there is no report".into());
            }
            Ok(Event::Stop) => return Err("stopped".into()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(status) = opened.ended()? {
            return Err(format!("{} ended before the page was done ({status})", browser.display()).into());
        }
        if Instant::now() > end {
            return Err(format!("the page was not done after {} seconds; --timeout takes more", options.timeout).into());
        }
    }
}

/// Prints what may come from a page: a terminal would obey control characters.
fn say(text: &str) {
    let text: String = text.chars().filter(|&c| c == '\n' || !c.is_control()).collect();
    // Whoever closed standard output wants to know no more.
    let _ = io::stdout().write_all(text.as_bytes());
    let _ = io::stdout().flush();
}
