//! Whether a system answers a REGISTER yet.

use std::cell::Cell;
use std::net::UdpSocket;
use std::time::Duration;

use crate::system::{DOMAIN, PCSCF};

thread_local! {
    static SENT: Cell<u32> = const { Cell::new(0) };
}

/// The socket of a UE that asks.
pub(crate) fn socket() -> Result<UdpSocket, String> {
    let socket = UdpSocket::bind("127.0.0.21:5079").map_err(|fault| fault.to_string())?;
    socket.set_read_timeout(Some(Duration::from_millis(5))).map_err(|fault| fault.to_string())?;
    Ok(socket)
}

/// Sends a REGISTER of its own and tells whether a challenge has come, to this one or another.
pub(crate) fn answered(socket: &UdpSocket) -> bool {
    let number = SENT.with(|sent| sent.replace(sent.get() + 1));
    let here = "127.0.0.21:5079";
    let impi = format!("001010000000001@{DOMAIN}");
    let text = format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {here};branch=z9hG4bKprobe{number}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:{impi}>;tag=probe\r\nTo: <sip:{impi}>\r\n\
         Call-ID: probe-{number}\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:probe@{here}>\r\nExpires: 600\r\n\
         Authorization: Digest username=\"{impi}\",realm=\"{DOMAIN}\",uri=\"sip:{DOMAIN}\",\
         nonce=\"\",response=\"\"\r\nContent-Length: 0\r\n\r\n"
    );
    // Refused while nobody listens: that is what is waited for.
    let _ = socket.send_to(text.as_bytes(), PCSCF);
    let mut buffer = [0; 2048];
    match socket.recv_from(&mut buffer) {
        Ok((length, _)) => {
            buffer.get(..length).is_some_and(|bytes| bytes.starts_with(b"SIP/2.0 401 "))
        }
        Err(_) => false,
    }
}
