//! Final responses of the S-CSCF's own that refuse a request, and why.

use cscf_core::auth::Credentials;
use cscf_core::clause::{Clause, ts24229};
use cscf_core::cx::CxResult;
use cscf_core::role::{Action, ContextId, Env};
use cscf_core::sip::{HeaderName, Request};
use cscf_core::trace::Diagnosis;

use crate::ScscfActions;
use crate::cause::{hss_fails, hss_refuses};
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
            Some(mut cause) => {
                if cause.about.is_empty() {
                    cause.about = who(request);
                }
                env.diagnose(clause, text, *cause);
            }
            None => env.refuse(clause, || text),
        }
        let mut response = request.reply(status);
        for (name, value) in headers {
            response.headers.push(name, &value);
        }
        out.push(Action::Reply { context, response: Box::new(response) });
    }
}

/// The user of a request: the private identity where there is one, else the public one.
pub(crate) fn who(request: &Request) -> String {
    let credentials = request.headers.get(HeaderName::Authorization);
    let credentials = credentials.and_then(|text| text.parse::<Credentials>().ok());
    match credentials.as_ref().and_then(Credentials::username) {
        Some(impi) if !impi.is_empty() => impi.into_owned(),
        _ => request.headers.get(HeaderName::To).unwrap_or_default().to_owned(),
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
            _ => Refusal::new(403, "5.4.1.2", why).because(hss_refuses(result)),
        }
    }

    /// The answer to a REGISTER when the HSS cannot be asked: by this operator's choice
    /// (TS 24.229 §5.4.1.2).
    pub(crate) fn no_answer(&self, why: &str) -> Refusal {
        match self.config.hss_failure {
            HssFailure::TimedOut => Refusal::new(504, "5.4.1.2", why).because(hss_fails(why)),
            HssFailure::RetryAfter(time) => Refusal::new(500, "5.4.1.2", why)
                .because(hss_fails(why))
                .with(HeaderName::RetryAfter, time.as_secs().to_string()),
        }
    }
}
