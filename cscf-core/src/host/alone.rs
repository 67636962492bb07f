//! The control interface of a node that runs by itself.

use std::io::Write as _;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::control::{Answering, Control, Nodes, Tap, Token, server};
use super::orders::Obedient;
use super::program::{Args, say};
use crate::config::{ControlToken, Lab, NodeConfig};
use crate::operator::Order;

impl Nodes for Obedient {
    fn give<'a>(&'a self, _: &'a str, order: &'a Order) -> Answering<'a> {
        Box::pin(self.obey(order))
    }
}

/// Where it listens, and what is needed there.
pub(super) struct Controlled {
    listener: TcpListener,
    token: Option<Token>,
    /// The token was made now: nobody else knows it.
    fresh: bool,
}

impl Controlled {
    /// Binds it where the lab or the command line say; nothing where nothing is said. Where it was
    /// not asked for in so many words a node does without what cannot be.
    pub(super) async fn bind(
        lab: &Lab,
        config: &NodeConfig,
        args: &Args,
    ) -> Result<Option<Self>, String> {
        let own = lab.control_of(config).filter(|_| !args.child);
        let Some(addr) = args.control.or(own).filter(|_| !args.no_control) else { return Ok(None) };
        let token = lab.control_token.as_ref().map(Token::of).transpose()?;
        if token.is_none() && !addr.ip().is_loopback() {
            return Err(format!(
                "--control {addr}: others than this machine reach it, so whoever does needs a \
                 token; write `control: {{address: …, token: …}}` in the lab file"
            ));
        }
        match server::bind(addr).await {
            Ok(listener) => {
                let fresh = lab.control_token == Some(ControlToken::Fresh);
                Ok(Some(Self { listener, token, fresh }))
            }
            Err(fault) if args.control.is_some() => Err(fault),
            Err(fault) => {
                let mut error = std::io::stderr().lock();
                let _ = writeln!(error, "warning: {fault}");
                Ok(None)
            }
        }
    }

    /// Says where it is.
    pub(super) fn announce(&self) -> Result<(), String> {
        let Ok(addr) = self.listener.local_addr() else { return Ok(()) };
        let token = self.token.as_ref().filter(|_| self.fresh);
        let token = token.map(|token| format!(" token {}", token.as_str()));
        say(&format!("control {addr}{}\n", token.unwrap_or_default()))
    }

    pub(super) async fn serve(self, lab: Arc<Lab>, name: &str, node: Obedient, tap: Option<Tap>) {
        let Ok(addr) = self.listener.local_addr() else { return };
        let control = Control::new(lab, &[name], Box::new(node), addr);
        let control = control.with_token(self.token).with_trace(tap);
        server::serve(self.listener, Arc::new(control)).await;
    }
}
