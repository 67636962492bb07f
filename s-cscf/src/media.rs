//! The media that a user has subscribed to (TS 24.229 §6.3, TS 29.228 §B.2.1A): an offer with more
//! is refused, and told what is allowed.

use cscf_core::clause::ts24229;
use cscf_core::role::{Action, ContextId, Env};
use cscf_core::sip::{HeaderName, Method, Request, Sdp};

use crate::ScscfActions;
use crate::isc::Served;
use crate::sessions::Sessions;

impl Sessions {
    /// The media profile that the HSS has for a user.
    pub(crate) fn media_profile(served: &Served) -> Option<u32> {
        served.set.service(&served.key)?.media_profile
    }

    /// Refuses an offer with media that the user has not subscribed to; says whether it did.
    pub(crate) fn refuses_media(
        &self,
        env: &mut Env<'_>,
        (context, request): (ContextId, &Request),
        profile: Option<u32>,
        out: &mut ScscfActions,
    ) -> bool {
        let policy = profile.and_then(|id| Some((id, self.config.media_profiles.get(&id)?)));
        // Most users have no profile: what they offer is not even read.
        let Some((id, policy)) = policy else { return false };
        let Some(offer) = offer(request) else { return false };
        let Err(what) = policy.check_offer(&offer) else { return false };
        env.refuse(ts24229("6.3"), || {
            format!("{} answered 488: {what} is not in media profile {id}", request.method)
        });
        let mut response = request.reply(488);
        let host = self.config.uri.split_once(':').map_or("", |(_, host)| host);
        let warning = format!("304 {host} \"{what} is not subscribed\"");
        response.headers.push(HeaderName::Warning, &warning);
        let number = env.ids.below(u64::MAX >> 1);
        let sdp = policy.permitted(&offer, host.split(':').next().unwrap_or(host), number);
        response.set_body("application/sdp", sdp.to_string());
        out.push(Action::Reply { context, response: Box::new(response) });
        true
    }
}

/// The SDP of a request that may hold an offer.
fn offer(request: &Request) -> Option<Sdp> {
    let offers = matches!(request.method, Method::Invite | Method::Update | Method::Prack);
    let sdp = request.headers.get(HeaderName::ContentType).is_some_and(|kind| {
        kind.split(';').next().unwrap_or(kind).trim().eq_ignore_ascii_case("application/sdp")
    });
    (offers && sdp).then(|| Sdp::parse(&request.body).ok()).flatten()
}
