//! Final responses of the S-CSCF's own that refuse a request, and why.

use cscf_core::clause::{Clause, ts24229};
use cscf_core::cx::CxResult;
use cscf_core::role::{Action, ContextId, Env};
use cscf_core::sip::{HeaderName, Request};
use cscf_core::trace::Diagnosis;

use crate::ScscfActions;
use crate::cause;
use crate::owner::RegistrationOwner;
use cscf_core::config::HssFailure;

/// A refusal: status, additional headers, and the reason for the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) clause: Clause,
    pub(crate) why: String,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) cause: Option<Box<Diagnosis>>,
}

impl Refusal {
    /// A refusal by a clause of TS 24.229.
    pub(crate) fn new(status: u16, section: &'static str, why: impl Into<String>) -> Self {
        Self::by(status, ts24229(section), why)
    }

    /// A refusal by any clause.
    pub(crate) fn by(status: u16, clause: Clause, why: impl Into<String>) -> Self {
        Self { status, clause, why: why.into(), headers: Vec::new(), cause: None }
    }

    /// Adds a header to the response.
    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Says what whoever is refused has to know.
    pub(crate) fn because(mut self, cause: Diagnosis) -> Self {
        self.cause = Some(Box::new(cause));
        self
    }

    /// Sends it.
    pub(crate) fn send(
        self,
        env: &mut Env<'_>,
        context: ContextId,
        request: &Request,
        out: &mut ScscfActions,
    ) {
        let Self { status, clause, why, headers, cause } = self;
        let text = format!("{} answered {status}: {why}", request.method);
        match cause {
            Some(cause) => env.diagnose(clause, text, cause.of_request(request)),
            None => env.refuse(clause, || text),
        }
        let mut response = request.reply(status);
        for (name, value) in headers {
            response.headers.push(name, &value);
        }
        out.push(Action::Reply { context, response: Box::new(response) });
    }
}

impl RegistrationOwner {
    /// The answer to a REGISTER when the HSS says no to MAR or SAR (TS 24.229 §5.4.1.2.1,
    /// §5.4.1.2.2).
    pub(crate) fn negative(&self, result: CxResult) -> Refusal {
        let why = format!("the HSS says {result}");
        match result {
            CxResult::TooBusy | CxResult::UnableToComply | CxResult::Other(_) => {
                self.no_answer(&why)
            }
            _ => Refusal::new(403, "5.4.1.2", why).because(cause::refused_by_hss(result)),
        }
    }

    /// The answer to a REGISTER when the HSS cannot be asked: by this operator's choice
    /// (TS 24.229 §5.4.1.2).
    pub(crate) fn no_answer(&self, why: &str) -> Refusal {
        let refusal = match self.config.hss_failure {
            HssFailure::TimedOut => Refusal::new(504, "5.4.1.2", why),
            HssFailure::RetryAfter(time) => Refusal::new(500, "5.4.1.2", why)
                .with(HeaderName::RetryAfter, time.as_secs().to_string()),
        };
        refusal.because(cause::no_use_of_hss(why))
    }
}
