//! Reading and writing behind the handshakes, until one side ends the connection.

use std::io;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes, protocol::CloseFrame};

use super::handshake::{Content, Io, Stream};
use super::reasons;
use crate::host::conn::{Outgoing, cause_of};
use crate::host::task::Event;
use crate::time::Duration;
use crate::transport::ConnId;

/// Bytes read at once.
const PORTION_BYTES: usize = 16 * 1024;
/// How long a peer may take to read one message.
const WRITE_FOR: Duration = Duration::from_secs(30);
/// How long the farewell may take.
const LEAVE_FOR: Duration = Duration::from_secs(1);
const ENDED: &str = "the node has ended";
const DEAF: &str = "the peer does not read";

/// Moves bytes until one side ends the connection, and tells the node if it was the peer.
pub(super) async fn run(
    conn: ConnId,
    (stream, whole_within): (Stream, Duration),
    outgoing: &Outgoing,
    events: &mpsc::Sender<Event>,
) {
    let Stream { content, records, messages: watched } = stream;
    // What is not whole keeps the library's memory and nothing else would end it.
    let late = async {
        let what = tokio::select! {
            () = records.is_late(whole_within) => "a record of TLS",
            () = watched.is_late(whole_within) => "a message of the WebSocket",
        };
        Some(format!("{what} was not whole within {} s", whole_within.as_secs()))
    };
    let cause = match content {
        Content::Bytes(mut io) => {
            let cause = tokio::select! {
                cause = bytes(conn, &mut io, outgoing, events) => cause,
                cause = late => cause,
            };
            let _ = timeout(LEAVE_FOR, io.shutdown()).await;
            cause
        }
        Content::Messages(mut socket) => tokio::select! {
            cause = messages(conn, &mut socket, outgoing, events) => cause,
            cause = late => cause,
        },
    };
    if let Some(cause) = cause.filter(|_| !outgoing.is_ending()) {
        let _ = events.send(Event::Closed(conn, cause)).await;
    }
}

/// Gives why the peer ended it; none where the node did.
async fn bytes(
    conn: ConnId,
    io: &mut Box<dyn Io>,
    outgoing: &Outgoing,
    events: &mpsc::Sender<Event>,
) -> Option<String> {
    let mut buffer = vec![0; PORTION_BYTES];
    loop {
        match timeout(WRITE_FOR, write_all(io, outgoing)).await {
            Err(_) => return Some(DEAF.to_owned()),
            Ok(Err(fault)) => return Some(cause_of(&fault)),
            Ok(Ok(())) if outgoing.is_ending() => return None,
            Ok(Ok(())) => {}
        }
        tokio::select! {
            count = io.read(&mut buffer) => match count {
                Ok(0) => return Some("closed by the peer".to_owned()),
                Ok(count) => {
                    let read = buffer.get(..count).unwrap_or_default();
                    let portion = Bytes::copy_from_slice(read);
                    if events.send(Event::Bytes(conn, portion)).await.is_err() {
                        return Some(ENDED.to_owned());
                    }
                }
                Err(fault) => return Some(reasons::of_tls(&fault)),
            },
            () = outgoing.woken() => {}
        }
    }
}

async fn write_all(io: &mut Box<dyn Io>, outgoing: &Outgoing) -> io::Result<()> {
    let mut some = false;
    while let Some(bytes) = outgoing.pop() {
        io.write_all(&bytes).await?;
        some = true;
    }
    if some { io.flush().await } else { Ok(()) }
}

/// The same for messages: what is written at once is one, and each that comes is handed on whole.
/// Pings are answered by the library (RFC 6455 §5.5.3).
async fn messages(
    conn: ConnId,
    socket: &mut WebSocketStream<Box<dyn Io>>,
    outgoing: &Outgoing,
    events: &mpsc::Sender<Event>,
) -> Option<String> {
    loop {
        while let Some(bytes) = outgoing.pop() {
            match timeout(WRITE_FOR, socket.send(as_message(bytes))).await {
                Err(_) => return Some(DEAF.to_owned()),
                Ok(Err(fault)) => return Some(reasons::of_web_socket(&fault)),
                Ok(Ok(())) => {}
            }
        }
        if outgoing.is_ending() {
            leave(socket, CloseCode::Normal).await;
            return None;
        }
        let came = tokio::select! {
            came = socket.next() => came,
            () = outgoing.woken() => continue,
        };
        let message = match came {
            None | Some(Ok(Message::Close(_)) | Err(WsError::ConnectionClosed)) => {
                leave(socket, CloseCode::Normal).await;
                return Some("closed by the peer".to_owned());
            }
            Some(Ok(Message::Text(text))) => Bytes::from(text),
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Err(fault)) => {
                let code = match &fault {
                    WsError::Capacity(_) => CloseCode::Size,
                    WsError::Utf8(_) => CloseCode::Invalid,
                    _ => CloseCode::Protocol,
                };
                leave(socket, code).await;
                return Some(reasons::of_web_socket(&fault));
            }
        };
        // What keeps a message keeps nothing else alive.
        let message = Bytes::copy_from_slice(&message);
        if events.send(Event::Bytes(conn, message)).await.is_err() {
            return Some(ENDED.to_owned());
        }
    }
}

/// SIP is text; what is none goes as bytes (RFC 7118 §5).
fn as_message(bytes: Bytes) -> Message {
    match Utf8Bytes::try_from(bytes.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(bytes),
    }
}

async fn leave(socket: &mut WebSocketStream<Box<dyn Io>>, code: CloseCode) {
    let frame = CloseFrame { code, reason: Utf8Bytes::default() };
    let _ = timeout(LEAVE_FOR, socket.close(Some(frame))).await;
}
