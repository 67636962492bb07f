//! The HSS of [`crate::hss`] as a [`Node`], so that a lab or a host drives it like any other.

use crate::engine::{Input, Node, Output};
use crate::hss::{HssCommand, HssInput, HssNode, HssOutput};
use crate::time::Instant;

impl Node for HssNode {
    fn name(&self) -> &str {
        Self::name(self)
    }

    /// Everything but connections and time means nothing to an HSS.
    fn handle_input(&mut self, now: Instant, input: Input) {
        let input = match input {
            Input::Bytes { conn, bytes } => HssInput::Bytes(conn, bytes),
            Input::Closed { conn, cause } => HssInput::Closed(conn, cause),
            Input::Opened(flow) => HssInput::Opened(flow),
            Input::Timeout => HssInput::Timeout,
            Input::Answer(..)
            | Input::Datagram(_)
            | Input::Demand(..)
            | Input::Unreachable { .. } => return,
        };
        Self::handle_input(self, now, input);
    }

    fn poll_output(&mut self) -> Option<Output> {
        Some(match Self::poll_output(self)? {
            HssOutput::Close(conn) => Output::Close(conn),
            HssOutput::Trace(event) => Output::Trace(event),
            HssOutput::Write(conn, bytes) => Output::Write { conn, bytes },
        })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Self::poll_timeout(self)
    }

    fn shut_down(&mut self, now: Instant) {
        Self::handle_input(self, now, HssInput::Command(HssCommand::Shutdown));
    }
}
