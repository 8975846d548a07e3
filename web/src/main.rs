//! Builds the page and serves it; with `--check`, opens it in a browser without a window and says what it found.
#![cfg(not(target_arch = "wasm32"))]

mod browser;
mod build;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use tiny_http::{Header, Method, Request, Response, Server};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// wgpu-norm's doctor as a page: every norm and gradient by the browser's WebGPU, against float64.
#[derive(Parser)]
struct Options {
    /// Open the page in Chromium without a window, on its GPU in software; print the report; exit with 1 unless it is good
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

/// What the page sends when it is done.
struct Found {
    trusted: bool,
    text: String,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well.
fn run(options: &Options) -> Result<bool> {
    // Before a build that takes a minute.
    let browser = if options.check { Some(browser::find(options.browser.as_deref())?) } else { None };
    let page = build::page()?;
    let port = options.port.unwrap_or(if options.check { 0 } else { 8080 });
    let server = Server::http(SocketAddr::from(([127, 0, 0, 1], port)))
        .map_err(|error| format!("port {port} of this machine cannot be served on: {error}; --port takes another"))?;
    let address = match server.server_addr().to_ip() {
        Some(address) => format!("http://localhost:{}/", address.port()),
        None => return Err("the server has no port".into()),
    };
    let Some(browser) = browser else {
        say(&format!("{address} is the page: open it in a browser with WebGPU. Ctrl-C ends this.\n"));
        loop {
            if let Some(found) = answer(server.recv()?, &page) {
                say(&format!("\n{}", found.text));
            }
        }
    };
    let mut opened = browser::Opened::new(&browser, &address)?;
    let end = Instant::now() + Duration::from_secs(options.timeout);
    while Instant::now() < end {
        let found = server.recv_timeout(Duration::from_millis(200))?.and_then(|request| answer(request, &page));
        if let Some(found) = found {
            say(&found.text);
            return Ok(found.trusted);
        }
        if let Some(status) = opened.ended()? {
            return Err(format!("{} ended before the page was done ({status})", browser.display()).into());
        }
    }
    Err(format!("the page was not done after {} seconds; --timeout takes more", options.timeout).into())
}

fn say(text: &str) {
    // Whoever closed standard output wants to know no more.
    let _ = io::stdout().write_all(text.as_bytes());
    let _ = io::stdout().flush();
}

/// Gives what the page sent, if that is what the request is.
fn answer(mut request: Request, page: &build::Page) -> Option<Found> {
    let kind = |kind: &str| Header::from_bytes("Content-Type", kind).ok();
    let file = match request.url().split('?').next().unwrap_or_default() {
        "/" => Some((include_bytes!("index.html").to_vec(), "text/html; charset=utf-8")),
        "/web.js" => Some((page.script.clone(), "text/javascript; charset=utf-8")),
        "/web_bg.wasm" => Some((page.module.clone(), "application/wasm")),
        _ => None,
    };
    let mut found = None;
    let response = match (request.method(), file) {
        (Method::Get, Some((bytes, of))) => {
            kind(of).into_iter().fold(Response::from_data(bytes), Response::with_header)
        }
        (Method::Post, None) if request.url() == "/found" => {
            found = serde_json::from_reader(request.as_reader()).ok().and_then(|sent: serde_json::Value| {
                Some(Found { trusted: sent["trusted"].as_bool()?, text: sent["text"].as_str()?.to_owned() + "\n" })
            });
            Response::from_data(Vec::new())
        }
        _ => Response::from_data(Vec::new()).with_status_code(404),
    };
    // A browser that has gone needs no answer.
    let _ = request.respond(response);
    found
}
