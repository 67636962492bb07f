//! The asking side: finds the control address by the lab file and gives one order.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use cscf_core::host::program;
use cscf_core::time::Duration;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Reply;

/// How long an order may take.
const ANSWER_FOR: Duration = Duration::from_secs(30);
/// An answer at most, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where the lab of this file is controlled.
///
/// # Errors
///
/// The lab file cannot be read, or switches the control interface off.
pub fn address(lab: Option<&Path>) -> Result<SocketAddr, String> {
    program::load_lab(lab)?.control.ok_or_else(|| {
        "the lab file says `control: off`; name an address there, e.g. 127.0.0.1:9480".to_owned()
    })
}

/// Gives an order to the lab that runs at this address.
///
/// # Errors
///
/// Nobody listens, or who listens is no lab.
pub fn give(addr: SocketAddr, order: &str) -> Result<Reply, String> {
    program::runtime()?.block_on(async {
        let asked = timeout(ANSWER_FOR, ask(addr, order)).await;
        asked.unwrap_or_else(|_| {
            Err(format!("{addr} does not answer within {} s", ANSWER_FOR.as_secs()))
        })
    })
}

async fn ask(addr: SocketAddr, order: &str) -> Result<Reply, String> {
    let stream = TcpStream::connect(addr).await.map_err(|fault| {
        format!(
            "no lab runs: nothing listens at {addr} ({fault})\n\
             `cscf up` starts one; --lab FILE names the lab file it was started with"
        )
    })?;
    let other = |fault: &dyn std::fmt::Display| format!("{addr} is no control interface: {fault}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|fault| other(&fault))?;
    let connection = tokio::spawn(connection);
    let request = Request::post("/orders")
        .header(HOST, addr.to_string())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(json!({"order": order}).to_string())))
        .map_err(|fault| other(&fault))?;
    let response = sender.send_request(request).await.map_err(|fault| other(&fault))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    connection.abort();
    let body = body.map_err(|fault| other(&fault))?.to_bytes();
    let body = serde_json::from_slice(&body).map_err(|fault| other(&fault))?;
    Ok(Reply { status, body })
}
