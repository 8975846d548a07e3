//! The page, for browsers on this machine, and what it sends when it is done.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use tiny_http::{Header, Method, Request, Response, Server};

use crate::Result;
use crate::build::Page;

/// What the page sends when it is done.
pub struct Found {
    /// None if nothing was checked.
    pub trusted: Option<bool>,
    pub text: String,
}

/// Bytes of the longest report that is read.
const LONGEST: u64 = 1 << 20;

/// What requests must be addressed to.
const HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];

/// Where the page says that it may send a report: other pages in the browser cannot read that.
const SECRET: &str = "SECRET";

struct Site {
    page: Page,
    index: String,
    port: u16,
    destination: String,
}

/// Serves in the background, and gives the address.
pub fn start(page: Page, port: u16, found: impl Fn(Found) + Send + Sync + 'static) -> Result<String> {
    let server = Server::http(SocketAddr::from(([127, 0, 0, 1], port)))
        .map_err(|error| format!("port {port} of this machine cannot be served on: {error}; --port takes another"))?;
    let Some(address) = server.server_addr().to_ip() else { return Err("the server has no port".into()) };
    let port = address.port();
    let secret: String = (0..2).map(|_| format!("{:016x}", RandomState::new().hash_one(port))).collect();
    let site = Arc::new(Site {
        page,
        index: include_str!("index.html").replace(SECRET, &secret),
        port,
        destination: format!("/found/{secret}"),
    });
    let found = Arc::new(found);
    thread::spawn(move || {
        for request in server.incoming_requests() {
            let (site, found) = (site.clone(), found.clone());
            // A request that does not end holds up no other.
            thread::spawn(move || {
                if let Some(report) = site.answer(request) {
                    found(report);
                }
            });
        }
    });
    Ok(format!("http://localhost:{port}/"))
}

impl Site {
    /// Gives what the page sent, if that is what the request is.
    fn answer(&self, mut request: Request) -> Option<Found> {
        // No name elsewhere leads here. Browsers leave out port 80.
        let ours = request.headers().iter().find(|header| header.field.equiv("Host")).is_some_and(|host| {
            let host = host.value.as_str();
            HOSTS.contains(&host.strip_suffix(&format!(":{}", self.port)).unwrap_or(host))
        });
        let file = match request.url() {
            "/" => Some((self.index.as_bytes(), "text/html; charset=utf-8")),
            "/web.js" => Some((&self.page.script[..], "text/javascript; charset=utf-8")),
            "/web_bg.wasm" => Some((&self.page.module[..], "application/wasm")),
            _ => None,
        };
        let mut found = None;
        let response = match (request.method(), file) {
            _ if !ours => Response::from_data(Vec::new()).with_status_code(403),
            (Method::Get, Some((bytes, kind))) => {
                let kind = Header::from_bytes("Content-Type", kind).ok();
                kind.into_iter().fold(Response::from_data(bytes), Response::with_header)
            }
            (Method::Post, None) if request.url() == self.destination => {
                found = report(&mut request);
                Response::from_data(Vec::new()).with_status_code(if found.is_some() { 200 } else { 400 })
            }
            _ => Response::from_data(Vec::new()).with_status_code(404),
        };
        // A browser that has gone needs no answer.
        let _ = request.respond(response);
        found
    }
}

fn report(request: &mut Request) -> Option<Found> {
    let sent: serde_json::Value = serde_json::from_reader(request.as_reader().take(LONGEST)).ok()?;
    Some(Found { trusted: sent["trusted"].as_bool(), text: sent["text"].as_str()?.trim_end().to_owned() })
}
