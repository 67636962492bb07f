//! TLS as a UE agrees on it with its P-CSCF (RFC 3329, TS 33.203 annex O; TS 24.229 §5.1.1.2.4,
//! §5.1.1.5.6): the first REGISTER offers it, the answer to the challenge and everything after go
//! by it. The handshake, and what the certificate has to say, are the host's.

use cscf_core::clause::ts24229;
use cscf_core::role::Env;
use cscf_core::sip::{HeaderName, Headers, Response};
use cscf_core::transport::Transport;

use super::security::{list, mechanisms_of, push_client};
use super::{Protection, Ue};

/// The name of TLS in Security-Client and Security-Server (RFC 3329 §2.2).
const TLS: &str = "tls";

impl Ue {
    /// Whether this UE agrees on TLS.
    pub(super) fn secures_by_tls(&self) -> bool {
        self.config.security == Protection::Tls && !self.recovery.early
    }

    /// Whether everything goes by TLS, because it was agreed on.
    pub(super) const fn goes_by_tls(&self) -> bool {
        self.security.over_tls.is_some() && !self.config.mistakes.answers_in_clear
    }

    /// By which transport it speaks to its P-CSCF.
    pub(super) const fn transport(&self) -> Transport {
        if self.goes_by_tls() { Transport::Tls } else { self.config.transport }
    }

    /// Security-Client of a REGISTER and, once it was agreed on, Security-Verify
    /// (TS 24.229 §5.1.1.2.4, §5.1.1.4.4, §5.1.1.5.6).
    pub(super) fn push_tls(&self, headers: &mut Headers) {
        if !self.secures_by_tls() {
            return;
        }
        push_client(headers, TLS);
        let Some(server) = &self.security.over_tls else { return };
        let mut verify = server.join(", ");
        if self.config.mistakes.security_verify_differs {
            verify = format!("digest, {verify}");
        }
        headers.push(HeaderName::SecurityVerify, &verify);
    }

    /// A valid challenge: what its Security-Server says is kept if it has TLS
    /// (TS 24.229 §5.1.1.5.6).
    ///
    /// # Errors
    ///
    /// Why the answer to the challenge must not be sent.
    pub(super) fn agree_on_tls(
        &mut self,
        env: &mut Env<'_>,
        response: &Response,
    ) -> Result<(), String> {
        let server = mechanisms_of(response)?;
        if !server.iter().any(|it| it.name.eq_ignore_ascii_case(TLS)) {
            return Err(format!("no usable mechanism in {}", list(&server)));
        }
        self.security.over_tls = Some(server.iter().map(ToString::to_string).collect());
        env.note(ts24229("5.1.1.5.6"), || format!("answers over TLS, at {}", self.pcscf()));
        Ok(())
    }

    /// A registration begins or is over: nothing is agreed on.
    pub(super) fn forget_tls(&mut self) {
        self.security.over_tls = None;
    }

    /// What it offers in Security-Client, in words.
    pub(super) fn offered_text(&self) -> String {
        if self.secures_by_tls() {
            return TLS.to_owned();
        }
        let all: Vec<String> = self.config.algorithms.iter().map(ToString::to_string).collect();
        all.join(", ")
    }
}
