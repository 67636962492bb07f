//! How long the peer has kept us waiting for the rest of something: a record of TLS (RFC 8446
//! §5.1), a message of a WebSocket (RFC 6455 §5.2). The libraries hold what is not whole and tell
//! nobody, so the frames are counted below them; what is in them is not looked at.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::time::Duration;

/// Since when something is not whole.
#[derive(Debug, Default)]
pub(super) struct Watch {
    since: Cell<Option<Instant>>,
    changed: Notify,
}

impl Watch {
    fn tell(&self, is_whole: bool) {
        if is_whole {
            self.since.set(None);
        } else if self.since.get().is_none() {
            self.since.set(Some(Instant::now()));
            self.changed.notify_one();
        }
    }

    /// Waits until something has not been whole for so long.
    pub(super) async fn is_late(&self, within: Duration) {
        loop {
            let Some(since) = self.since.get() else {
                self.changed.notified().await;
                continue;
            };
            sleep_until(since + within).await;
            if self.since.get() == Some(since) {
                return;
            }
        }
    }
}

/// Where in the frames of a stream we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Records of TLS: octets of a header that came, or octets of a record that are still to come.
    Record {
        /// The header as far as it came: type, version, length.
        header: [u8; 5],
        /// Octets of it.
        got: usize,
        /// What is still to come behind it.
        rest: usize,
    },
    /// The upgrade from HTTP: how much of the empty line at its end came.
    Upgrade(usize),
    /// Frames of a WebSocket.
    Frame {
        /// The header as far as it came: two octets, then a longer length and a mask.
        header: [u8; 14],
        /// Octets of it.
        got: usize,
        /// What is still to come behind it.
        rest: u64,
        /// Whether a message has begun whose last frame did not come yet.
        open: bool,
    },
}

impl Framing {
    pub(super) const TLS: Self = Self::Record { header: [0; 5], got: 0, rest: 0 };
    const FRAME: Self = Self::Frame { header: [0; 14], got: 0, rest: 0, open: false };

    /// Takes what came.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        while let Some((first, others)) = bytes.split_first() {
            bytes = match self {
                Self::Record { rest, .. } if *rest > 0 => {
                    let count = bytes.len().min(*rest);
                    *rest -= count;
                    bytes.get(count..).unwrap_or_default()
                }
                Self::Frame { rest, .. } if *rest > 0 => {
                    let count = bytes.len().min(usize::try_from(*rest).unwrap_or(usize::MAX));
                    *rest = rest.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
                    bytes.get(count..).unwrap_or_default()
                }
                _ => {
                    self.header(*first);
                    others
                }
            };
        }
    }

    /// Takes an octet that is not of a payload.
    fn header(&mut self, octet: u8) {
        match self {
            Self::Record { header, got, rest } => {
                if let Some(slot) = header.get_mut(*got) {
                    *slot = octet;
                }
                *got += 1;
                if *got == header.len() {
                    let [_, _, _, high, low] = *header;
                    (*got, *rest) = (0, usize::from(u16::from_be_bytes([high, low])));
                }
            }
            Self::Upgrade(seen) => {
                const END: &[u8; 4] = b"\r\n\r\n";
                *seen = match END.get(*seen) {
                    Some(next) if *next == octet => *seen + 1,
                    _ => usize::from(octet == b'\r'),
                };
                if *seen == END.len() {
                    *self = Self::FRAME;
                }
            }
            Self::Frame { header, got, rest, open } => {
                if let Some(slot) = header.get_mut(*got) {
                    *slot = octet;
                }
                *got += 1;
                let [first, second, long @ ..] = *header;
                let (extra, mask) = (second & 0x7f, usize::from(second >> 7) * 4);
                let wide = match extra {
                    126 => 2,
                    127 => 8,
                    _ => 0,
                };
                if *got < 2 || *got < 2 + wide + mask {
                    return;
                }
                let number = |from: &[u8]| from.iter().fold(0, |all, it| all << 8 | u64::from(*it));
                *rest = if wide == 0 {
                    u64::from(extra)
                } else {
                    number(long.get(..wide).unwrap_or_default())
                };
                *got = 0;
                // Frames of control stand between those of a message (RFC 6455 §5.4).
                if first & 0x08 == 0 {
                    *open = first & 0x80 == 0;
                }
            }
        }
    }

    /// Whether nothing is still to come of what has begun.
    pub(super) const fn is_whole(&self) -> bool {
        match self {
            Self::Record { got, rest, .. } => *got == 0 && *rest == 0,
            // It has a bound of its own: that of the handshake.
            Self::Upgrade(_) => true,
            Self::Frame { got, rest, open, .. } => *got == 0 && *rest == 0 && !*open,
        }
    }
}

/// A stream whose frames are watched.
pub(super) struct Watched<S> {
    inner: S,
    framing: Framing,
    watch: Rc<Watch>,
}

impl<S> Watched<S> {
    /// Watches records of TLS.
    pub(super) fn records(inner: S, watch: &Rc<Watch>) -> Self {
        Self { inner, framing: Framing::TLS, watch: Rc::clone(watch) }
    }

    /// Watches frames of a WebSocket, behind the upgrade from HTTP.
    pub(super) fn frames(inner: S, watch: &Rc<Watch>) -> Self {
        Self { inner, framing: Framing::Upgrade(0), watch: Rc::clone(watch) }
    }

    /// What is watched.
    pub(super) const fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        this.framing.take(buffer.filled().get(before..).unwrap_or_default());
        this.watch.tell(this.framing.is_whole());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    // Whoever has two pieces may have one chance to write: an alert behind something else.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After each octet of a stream, whether all that began is whole.
    fn whole(mut framing: Framing, stream: &[u8]) -> Vec<bool> {
        let each = stream.iter().map(|octet| {
            framing.take(&[*octet]);
            framing.is_whole()
        });
        each.collect()
    }

    #[test]
    fn a_record_is_whole_with_its_last_octet() {
        let record = [&[23, 3, 3, 0, 2][..], b"xy", &[21, 3, 3, 0, 1, 0]].concat();
        let expected: Vec<bool> = (1..=record.len()).map(|at| at == 7 || at == 13).collect();
        assert_eq!(whole(Framing::TLS, &record), expected);
        let mut at_once = Framing::TLS;
        at_once.take(&[&record[..], &[23, 3]].concat());
        assert!(!at_once.is_whole());
    }

    #[test]
    fn a_message_is_whole_with_the_end_of_its_last_frame() {
        let upgrade = b"HTTP/1.1 101 x\r\nA: b\r\n\r\n";
        let mut framing = Framing::Upgrade(0);
        framing.take(upgrade);
        assert_eq!(framing, Framing::FRAME);
        // A masked text in two frames, with a ping of a server between.
        let parts: [(&[u8], bool); 4] = [
            (&[0x01, 0x82, 1, 2, 3, 4, b'a', b'b'], false),
            (&[0x89, 0x00], false),
            (&[0x80, 0x81, 1, 2, 3, 4, b'c'], true),
            (&[0x82, 0x7e, 0x00, 0x03, b'x', b'y'], false),
        ];
        for (part, is_whole) in parts {
            framing.take(part);
            assert_eq!(framing.is_whole(), is_whole, "{part:?}");
        }
        framing.take(b"z");
        assert!(framing.is_whole());
        let long = [&[0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0, 2][..], b"xy"].concat();
        let expected: Vec<bool> = (1..=12).map(|at| at == 12).collect();
        assert_eq!(whole(Framing::FRAME, &long), expected);
    }
}
