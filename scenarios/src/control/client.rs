//! Finds the control address and its token, asks something there, follows a trace.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use cscf_core::config::ControlToken;
use cscf_core::host::control::Token;
use cscf_core::host::program;
use cscf_core::time::Duration;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Reply;

/// How long an order may take.
const ANSWER_FOR: Duration = Duration::from_secs(30);
/// An answer at most, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// An event of a trace at most, in bytes.
const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// A trace in which nothing happens for so long is quiet.
const QUIET_AFTER: Duration = Duration::from_millis(200);
/// The variable of the environment that may hold the token.
const TOKEN_VARIABLE: &str = "CSCF_TOKEN";

/// Who is asked.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where it listens.
    pub addr: SocketAddr,
    token: Option<Token>,
}

/// What was asked for goes here piece by piece, its kind first (`quiet` where nothing comes for a
/// moment); it may say that it is enough.
pub type EachEvent<'a> = &'a mut dyn FnMut(&str, &str) -> bool;

impl Client {
    /// The one that the command line names, else that of the lab file. The token is that of the
    /// command line, else of the environment, else of the lab file.
    ///
    /// # Errors
    ///
    /// The lab file cannot be read, or switches the control interface off.
    pub fn find(
        addr: Option<SocketAddr>,
        lab: Option<&Path>,
        token: Option<&str>,
    ) -> Result<Self, String> {
        let given = token.map(str::to_owned).or_else(|| std::env::var(TOKEN_VARIABLE).ok());
        let given = given.filter(|text| !text.is_empty()).map(Token::new);
        if let Some(addr) = addr.filter(|_| given.is_some() || lab.is_none()) {
            return Ok(Self { addr, token: given });
        }
        let lab = program::load_lab(lab)?;
        let own = lab.control_token.as_ref().filter(|token| **token != ControlToken::Fresh);
        let token = match given {
            Some(given) => Some(given),
            None => own.map(Token::of).transpose()?,
        };
        let off = "the lab file says `control: off`; name an address there, e.g. 127.0.0.1:9480";
        let addr = addr.or(lab.control).ok_or(off)?;
        Ok(Self { addr, token })
    }

    /// Gives an order.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`].
    pub fn give(&self, order: &str) -> Result<Reply, String> {
        self.ask(&Method::POST, "/orders", Some(&json!({"order": order})))
    }

    /// Asks something that is answered with JSON.
    ///
    /// # Errors
    ///
    /// Nobody listens, or who listens is no control interface.
    pub fn ask(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<Reply, String> {
        let (status, bytes) = self.whole(method, path, body)?;
        let body = serde_json::from_slice(&bytes).map_err(|fault| self.is_other(&fault))?;
        Ok(Reply { status, body })
    }

    /// Asks for a text.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`]; or what the other side says is wrong.
    pub fn text(&self, path: &str) -> Result<String, String> {
        let (status, bytes) = self.whole(&Method::GET, path, None)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if status == 200 { Ok(text) } else { Err(told(&text)) }
    }

    /// Hands the events of a trace, kind and data, to `each` until it says no, or the other side
    /// ends.
    ///
    /// # Errors
    ///
    /// As [`Client::text`].
    pub fn follow(&self, path: &str, each: EachEvent<'_>) -> Result<(), String> {
        program::runtime()?.block_on(async {
            let mut response = self.send(&Method::GET, path, None).await?;
            if response.status() != 200 {
                let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
                let body = body.map_err(|fault| self.is_other(&fault))?.to_bytes();
                return Err(told(&String::from_utf8_lossy(&body)));
            }
            let mut waiting = Vec::new();
            loop {
                let Ok(frame) = timeout(QUIET_AFTER, response.frame()).await else {
                    if each("quiet", "") {
                        continue;
                    }
                    return Ok(());
                };
                let Some(frame) = frame else { return Ok(()) };
                let frame = frame.map_err(|fault| format!("the trace ends: {fault}"))?;
                waiting.extend_from_slice(&frame.into_data().unwrap_or_default());
                if waiting.len() > EVENT_BYTES_MAX {
                    return Err(self.is_other(&"an event that does not end"));
                }
                while let Some(end) = waiting.windows(2).position(|two| two == b"\n\n") {
                    let event: Vec<u8> = waiting.drain(..end + 2).collect();
                    let text = String::from_utf8_lossy(&event);
                    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
                    if let Some(data) = field("data: ")
                        && !each(field("event: ").unwrap_or_default(), data)
                    {
                        return Ok(());
                    }
                }
            }
        })
    }

    fn whole(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Bytes), String> {
        let asked = async {
            let response = self.send(method, path, body).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok((status, body.map_err(|fault| self.is_other(&fault))?.to_bytes()))
        };
        program::runtime()?.block_on(async {
            timeout(ANSWER_FOR, asked).await.unwrap_or_else(|_| {
                let (addr, seconds) = (self.addr, ANSWER_FOR.as_secs());
                Err(format!("{addr} does not answer within {seconds} s"))
            })
        })
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, String> {
        let addr = self.addr;
        let stream = TcpStream::connect(addr).await.map_err(|fault| {
            format!(
                "no lab runs: nothing listens at {addr} ({fault})\n\
                 `cscf up` starts one; --lab FILE names the lab file it was started with"
            )
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|fault| self.is_other(&fault))?;
        // It ends with the answer, or with the runtime.
        tokio::spawn(connection);
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, addr.to_string());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.as_str()));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|fault| self.is_other(&fault))?;
        sender.send_request(request).await.map_err(|fault| self.is_other(&fault))
    }

    fn is_other(&self, fault: &dyn Display) -> String {
        format!("{} is no control interface: {fault}", self.addr)
    }
}

/// What an error says, with its hint.
#[must_use]
pub fn told(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    match (text("error"), text("hint")) {
        ("", _) => "it refuses, and does not say why".to_owned(),
        (error, "") => error.to_owned(),
        (error, hint) => format!("{error}\n{hint}"),
    }
}

/// One part of a path, or a value of a query, encoded.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@:+".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_path_is_encoded() {
        assert_eq!(encoded("sip:a@b;x=1/2 ü"), "sip:a@b%3Bx%3D1%2F2%20%C3%BC");
        assert_eq!(encoded("tel:+1"), "tel:+1");
    }

    #[test]
    fn an_error_is_told_with_its_hint() {
        assert_eq!(told("{\"error\": \"no\", \"hint\": \"yes\"}"), "no\nyes");
        assert_eq!(told("<html>"), "it refuses, and does not say why");
    }
}
