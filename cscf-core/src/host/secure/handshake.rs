//! The handshakes: TLS, then the opening of a WebSocket (RFC 6455 §4; RFC 7118 §4).

use std::net::SocketAddr;
use std::rc::Rc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config, client_async_with_config};

use super::Handshaking;
use super::certificates::Tls;
use super::reasons;
use super::watch::{Watch, Watched};
use crate::host::conn;
use crate::transport::Transport;

/// The subprotocol of SIP (RFC 7118 §4.1).
const SIP: &str = "sip";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";
/// The longest message on a WebSocket, in bytes: the longest SIP message.
pub(super) const MESSAGE_BYTES_MAX: usize = 65_536;
/// A record of TLS that begins a handshake (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Bytes both ways, whatever is below.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// A stream behind its handshakes.
pub(super) struct Stream {
    /// What it gives.
    pub(super) content: Content,
    /// Since when a record of TLS below is not whole.
    pub(super) records: Rc<Watch>,
    /// Since when a message of the WebSocket is not whole.
    pub(super) messages: Rc<Watch>,
}

/// What a stream gives.
pub(super) enum Content {
    /// A stream of bytes.
    Bytes(Box<dyn Io>),
    /// One message after the other.
    Messages(Box<WebSocketStream<Box<dyn Io>>>),
}

/// A stream, and words about it for the trace.
type Ready = Result<(Stream, String), String>;

/// Answers the handshakes of a peer.
pub(super) async fn serve(transport: Transport, stream: TcpStream, with: &Handshaking) -> Ready {
    let [records, messages] = <[Rc<Watch>; 2]>::default();
    let (io, what) = match transport {
        Transport::Tls | Transport::Wss => {
            serve_tls(Watched::records(stream, &records), with.tls.as_deref()).await?
        }
        Transport::Tcp | Transport::Udp | Transport::Ws => plain(stream),
    };
    if !matches!(transport, Transport::Ws | Transport::Wss) {
        return Ok((Stream { content: Content::Bytes(io), records, messages }, what));
    }
    let io: Box<dyn Io> = Box::new(Watched::frames(io, &messages));
    match accept_hdr_async_with_config(io, takes_sip, Some(limits())).await {
        Ok(socket) => {
            let content = Content::Messages(Box::new(socket));
            Ok((Stream { content, records, messages }, format!("{what}WebSocket, sip")))
        }
        Err(fault) => Err(reasons::of_web_socket(&fault)),
    }
}

/// Begins the handshakes with a peer.
pub(super) async fn ask(
    transport: Transport,
    stream: TcpStream,
    remote: SocketAddr,
    with: &Handshaking,
) -> Ready {
    let [records, messages] = <[Rc<Watch>; 2]>::default();
    let name = with.tls.as_ref().map_or_else(|| remote.ip().to_string(), |it| it.name_of(remote));
    let (io, what) = match transport {
        Transport::Tls | Transport::Wss => {
            let stream = Watched::records(stream, &records);
            ask_tls(stream, &name, with.tls.as_deref()).await?
        }
        Transport::Tcp | Transport::Udp | Transport::Ws => plain(stream),
    };
    if !matches!(transport, Transport::Ws | Transport::Wss) {
        return Ok((Stream { content: Content::Bytes(io), records, messages }, what));
    }
    let host = if name.contains(':') { format!("[{name}]") } else { name };
    let mut request = format!("ws://{host}:{}/", remote.port())
        .into_client_request()
        .map_err(|fault| reasons::of_web_socket(&fault))?;
    request.headers_mut().insert(PROTOCOL, HeaderValue::from_static(SIP));
    let io: Box<dyn Io> = Box::new(Watched::frames(io, &messages));
    match client_async_with_config(request, io, Some(limits())).await {
        Ok((socket, _)) => {
            let content = Content::Messages(Box::new(socket));
            Ok((Stream { content, records, messages }, format!("{what}WebSocket, sip")))
        }
        Err(fault) => Err(reasons::of_web_socket(&fault)),
    }
}

fn plain(stream: TcpStream) -> (Box<dyn Io>, String) {
    (Box::new(stream), String::new())
}

async fn serve_tls(
    stream: Watched<TcpStream>,
    tls: Option<&Tls>,
) -> Result<(Box<dyn Io>, String), String> {
    let config = tls.and_then(Tls::server).ok_or("TLS: there is no certificate here")?;
    // A peer without TLS is told apart before rustls sees a byte of it.
    let mut first = [0];
    match stream.inner().peek(&mut first).await {
        Ok(0) => return Err("TLS: closed before the handshake".to_owned()),
        Ok(_) if first == [HANDSHAKE_RECORD] => {}
        Ok(_) if first.first().is_some_and(u8::is_ascii_alphabetic) => {
            return Err("TLS: plain text on the TLS port".to_owned());
        }
        Ok(_) => return Err("TLS: what came is no handshake of TLS".to_owned()),
        Err(fault) => return Err(conn::cause_of(&fault)),
    }
    match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => {
            let (_, session) = stream.get_ref();
            let mut what = reasons::session(session);
            if let Some(name) = session.peer_certificates().and_then(|list| list.first()) {
                what = format!("{what}, client certificate {}, ", super::identity::names(name));
            } else {
                what.push_str(", ");
            }
            Ok((Box::new(stream), what))
        }
        Err(fault) => Err(reasons::of_tls(&fault)),
    }
}

async fn ask_tls(
    stream: Watched<TcpStream>,
    name: &str,
    tls: Option<&Tls>,
) -> Result<(Box<dyn Io>, String), String> {
    let config = tls.map(Tls::client).ok_or("TLS: no CA to trust is known here")?;
    let server = ServerName::try_from(name.to_owned())
        .map_err(|_| format!("TLS: `{name}` is no name of a server"))?;
    match TlsConnector::from(config).connect(server, stream).await {
        Ok(stream) => {
            let what = reasons::session(stream.get_ref().1);
            Ok((Box::new(stream), format!("{what}, server {name}, ")))
        }
        Err(fault) => Err(reasons::of_tls(&fault)),
    }
}

/// Takes a WebSocket whose client speaks SIP (RFC 7118 §4).
fn takes_sip(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let values = request.headers().get_all(PROTOCOL).iter();
    let mut offered = values.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(','));
    if offered.any(|it| it.trim().eq_ignore_ascii_case(SIP)) {
        response.headers_mut().insert(PROTOCOL, HeaderValue::from_static(SIP));
        return Ok(response);
    }
    let text = reasons::NO_SUBPROTOCOL.to_owned();
    let mut refusal = ErrorResponse::new(Some(text));
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    Err(refusal)
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(256 * 1024)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}
