//! INFO inside a session: info packages (RFC 6086) and the use of old, which announces nothing.

use super::{Session, SessionEvent, SessionPhase, Turn, What};
use crate::clause::rfc6086;
use crate::sip::{HeaderName, Headers, Method, Request};

/// Packages of a peer that are remembered at most.
const PACKAGES_MAX: usize = 16;

impl<C: Copy> Session<C> {
    /// Sends INFO in the call as it was before there were packages (RFC 6086 §9).
    pub fn info(&mut self, turn: &mut Turn<'_, C>, content_type: &str, body: bytes::Bytes) {
        self.send_info(turn, None, content_type, body);
    }

    /// Sends INFO of a package, if the peer takes that one (RFC 6086 §4.2.1).
    pub fn info_package(
        &mut self,
        turn: &mut Turn<'_, C>,
        package: &str,
        content_type: &str,
        body: bytes::Bytes,
    ) {
        self.send_info(turn, Some(package), content_type, body);
    }

    fn send_info(
        &mut self,
        turn: &mut Turn<'_, C>,
        package: Option<&str>,
        content_type: &str,
        body: bytes::Bytes,
    ) {
        if self.phase != SessionPhase::Talking {
            return;
        }
        let bold = self.settings.habits.unwanted_package;
        let Some(leg) = self.talking() else { return };
        if let Some(package) = package
            && !bold
            && !leg.peer_packages.iter().any(|known| known.eq_ignore_ascii_case(package))
        {
            turn.refuse(rfc6086("4.2.1"), || format!("the peer takes no INFO of {package}"));
            return turn.event(SessionEvent::InfoUnwanted);
        }
        let mut info = leg.dialog.request(Method::Info);
        if let Some(package) = package {
            info.headers.push(HeaderName::InfoPackage, package);
            info.headers.push(HeaderName::ContentDisposition, "Info-Package");
        }
        info.set_body(content_type, body);
        let id = leg.dialog.id.clone();
        self.send(turn, What::Info, &id, info);
    }

    /// INFO came: 200, or 469 for a package that we did not announce (RFC 6086 §4.2.2).
    pub(super) fn on_info(&mut self, turn: &mut Turn<'_, C>, context: C, request: &Request) {
        let package = request.headers.get(HeaderName::InfoPackage).map(super::super::media_type);
        let ours = &self.settings.habits.packages;
        let known = |name: &str| ours.iter().any(|one| one.eq_ignore_ascii_case(name));
        if let Some(package) = package.filter(|name| !known(name)) {
            turn.refuse(rfc6086("4.2.2"), || format!("469: INFO of {package} is not taken"));
            let mut response = request.reply(469);
            let list = if ours.is_empty() { "nil".to_owned() } else { ours.join(", ") };
            response.headers.push(HeaderName::RecvInfo, &list);
            return turn.respond(context, response);
        }
        turn.respond(context, request.reply(200));
        turn.event(SessionEvent::Info(Box::new(request.clone())));
    }
}

/// What Recv-Info of a message lists; `None` where it has none, and what was said before holds.
pub(super) fn packages(headers: &Headers) -> Option<Vec<String>> {
    if !headers.contains(HeaderName::RecvInfo) {
        return None;
    }
    let names = headers.values(HeaderName::RecvInfo).map(super::super::media_type);
    let names = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("nil"));
    Some(names.take(PACKAGES_MAX).map(str::to_owned).collect())
}
