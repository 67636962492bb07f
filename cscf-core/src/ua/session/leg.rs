//! One dialog of a session with its own offer/answer exchange and preconditions: a caller has one
//! per fork, a callee exactly one.

use super::info::packages;
use crate::dialog::Dialog;
use crate::sip::{HeaderName, Headers, Request};
use crate::ua::media::Media;
use crate::ua::offer::Exchange;
use crate::ua::reliable::ReliableReceiver;

/// Early dialogs a caller keeps at most; further forks are not followed.
pub(super) const LEGS_MAX: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub(super) dialog: Dialog,
    pub(super) exchange: Exchange,
    pub(super) media: Media,
    pub(super) receiver: ReliableReceiver,
    /// A PRACK of ours is not answered yet.
    pub(super) prack_pending: bool,
    /// The peer knows that our resources are there.
    pub(super) told: bool,
    /// The last ACK, to be repeated with each repeated 2xx, and its CSeq.
    pub(super) ack: Option<(u32, Request)>,
    /// The user knows that there is video.
    pub(super) told_video: bool,
    /// What the peer's Allow lists of UPDATE.
    pub(super) peer_updates: bool,
    /// The info packages the peer takes.
    pub(super) peer_packages: Vec<String>,
}

impl Leg {
    pub(super) fn new(dialog: Dialog, exchange: Exchange, media: Media) -> Self {
        Self {
            dialog,
            exchange,
            told: media.is_reserved(),
            media,
            receiver: ReliableReceiver::default(),
            prack_pending: false,
            ack: None,
            told_video: false,
            peer_updates: false,
            peer_packages: Vec::new(),
        }
    }

    /// Learns from a message of the peer what it can.
    pub(super) fn learn(&mut self, headers: &Headers) {
        self.peer_updates |= headers.has_token(HeaderName::Allow, "UPDATE");
        if let Some(packages) = packages(headers) {
            self.peer_packages = packages;
        }
    }

    /// Whether the peer waits to hear that our resources are there, and may be told now.
    pub(super) fn has_to_tell(&self) -> bool {
        self.media.uses_preconditions()
            && self.media.is_reserved()
            && !self.told
            && !self.prack_pending
            && self.exchange.is_stable()
    }
}
