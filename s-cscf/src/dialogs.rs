//! The dialogs of served users, as far as a proxy has to know them: for the icid of requests in
//! them, and to end them when a user is gone (TS 24.229 §5.4.5).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cscf_core::dialog::Between;
use cscf_core::operator::Table;
use cscf_core::role::OwnTag;
use cscf_core::sip::{HeaderName, Method, NameAddr, Request, Response};
use cscf_core::transport::target::Place;

use crate::charging;

/// Our own BYEs are numbered apart from the NOTIFYs of the registration owner.
const BYE_TAGS: u64 = 1 << 63;

/// All dialogs, by the number in our Record-Route; the lowest is the oldest.
#[derive(Debug, Default)]
pub(crate) struct Dialogs {
    /// Boxed: a tree that is filled in order has room for twice as many.
    list: BTreeMap<u64, Box<Dialog>>,
    /// The dialogs of each user, by its Service-Route token.
    by_user: BTreeSet<(Arc<str>, u64)>,
    byes: BTreeMap<OwnTag, u64>,
    count: u64,
    bye_count: u64,
}

/// One dialog that an INVITE opened.
#[derive(Debug)]
pub(crate) struct Dialog {
    users: Box<[Arc<str>]>,
    /// The media profile of the user served in it.
    pub(crate) media: Option<u32>,
    /// The URIs of application servers that its INVITE went to.
    servers: Box<[Box<str>]>,
    /// Both ends; its only word is the icid.
    between: Between,
    /// BYEs of our own without an answer; requests are refused meanwhile.
    byes: u32,
}

impl Dialogs {
    /// What is shown of them.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(&["call_id", "caller", "callee", "state"]);
        for dialog in self.list.values() {
            table.push([
                dialog.between.call_id().to_owned(),
                dialog.between.caller().to_owned(),
                dialog.between.callee().to_owned(),
                (if dialog.between.is_confirmed() { "confirmed" } else { "early" }).to_owned(),
            ]);
        }
        table
    }

    /// The number of dialogs.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The dialog with this number.
    pub(crate) fn get(&self, number: u64) -> Option<&Dialog> {
        self.list.get(&number).map(|dialog| &**dialog)
    }

    /// Opens a dialog for an INVITE as it was received, for the users with these tokens.
    pub(crate) fn open(&mut self, invite: &Request, icid: &str, users: Vec<Arc<str>>) -> u64 {
        self.count += 1;
        let dialog = Dialog {
            users: Box::default(),
            servers: Box::default(),
            media: None,
            between: Between::of_request(invite, &[Some(icid)]),
            byes: 0,
        };
        self.list.insert(self.count, Box::new(dialog));
        self.set_users(self.count, users);
        self.count
    }

    /// Says whose contacts may still take the dialog, by Service-Route token.
    pub(crate) fn set_users(&mut self, number: u64, users: Vec<Arc<str>>) {
        let Some(dialog) = self.list.get_mut(&number) else { return };
        for user in std::mem::take(&mut dialog.users) {
            self.by_user.remove(&(user, number));
        }
        self.by_user.extend(users.iter().map(|user| (user.clone(), number)));
        dialog.users = users.into();
    }

    /// Notes the media profile of the served user.
    pub(crate) fn set_media(&mut self, number: u64, profile: Option<u32>) {
        if let Some(dialog) = self.list.get_mut(&number) {
            dialog.media = profile;
        }
    }

    /// Notes a server that the INVITE goes to.
    pub(crate) fn add_server(&mut self, number: u64, server: &str) {
        if let Some(dialog) = self.list.get_mut(&number)
            && !dialog.servers.iter().any(|its| **its == *server)
        {
            let mut servers = std::mem::take(&mut dialog.servers).into_vec();
            servers.push(server.into());
            dialog.servers = servers.into();
        }
    }

    /// Forgets a dialog.
    pub(crate) fn remove(&mut self, number: u64) {
        self.set_users(number, Vec::new());
        self.list.remove(&number);
    }

    /// Forgets the oldest dialog.
    pub(crate) fn remove_oldest(&mut self) {
        if let Some(number) = self.list.keys().next().copied() {
            self.remove(number);
        }
    }

    /// Takes the callee's end from the 2xx; `marker` is the user part of our Record-Route, `user`
    /// the one whose contact answered, if the callee is served here.
    pub(crate) fn confirm(
        &mut self,
        number: u64,
        response: &Response,
        marker: &str,
        user: Option<&Arc<str>>,
    ) {
        let Some(dialog) = self.list.get_mut(&number) else { return };
        let first = !dialog.between.is_confirmed();
        dialog.between.confirm(response, |text| is_marked(text, marker));
        if first && let Some(user) = user {
            self.set_users(number, vec![user.clone()]);
        }
    }

    /// Notes numbers and targets of a request in the dialog; says whether the caller sent it.
    pub(crate) fn on_request(&mut self, number: u64, request: &Request) -> bool {
        let dialog = self.list.get_mut(&number);
        dialog.is_some_and(|dialog| dialog.between.on_request(request))
    }

    /// Notes the target in the 2xx of a request in the dialog.
    pub(crate) fn on_success(&mut self, number: u64, by_caller: bool, response: &Response) {
        if let Some(dialog) = self.list.get_mut(&number) {
            dialog.between.on_success(by_caller, response);
        }
    }

    /// A user is gone: the numbers of its dialogs that nobody else of the same set may still take.
    pub(crate) fn of_user(&mut self, user: &str) -> Vec<u64> {
        let user: Arc<str> = user.into();
        let all = (user.clone(), 0)..=(user.clone(), u64::MAX);
        let numbers: Vec<u64> = self.by_user.range(all).map(|(_, number)| *number).collect();
        let mut over = Vec::new();
        for number in numbers {
            self.by_user.remove(&(user.clone(), number));
            let Some(dialog) = self.list.get_mut(&number) else { continue };
            let others = dialog.users.iter().filter(|its| **its != user);
            dialog.users = others.cloned().collect();
            if dialog.users.is_empty() {
                over.push(number);
            }
        }
        over
    }

    /// The BYEs that end a confirmed dialog, to the caller and to the callee; none if it is not
    /// confirmed (TS 24.229 §5.4.5.1.2).
    pub(crate) fn byes(&mut self, number: u64, reason: &str) -> Vec<(OwnTag, Request)> {
        let Some(dialog) = self.list.get_mut(&number) else { return Vec::new() };
        let (to_caller, to_callee) = dialog.between.byes();
        let mut list = Vec::new();
        for mut request in to_caller.into_iter().chain(to_callee) {
            request.headers.push(HeaderName::Reason, reason);
            charging::keep_icid(&mut request.headers, dialog.icid());
            request.headers.push(HeaderName::ContentLength, "0");
            self.bye_count += 1;
            let tag = OwnTag(BYE_TAGS | self.bye_count);
            self.byes.insert(tag, number);
            dialog.byes += 1;
            list.push((tag, request));
        }
        list
    }

    /// One of our BYEs has its final answer; gives its dialog. With the last the dialog is
    /// forgotten.
    pub(crate) fn bye_answered(&mut self, tag: OwnTag) -> Option<u64> {
        let number = self.byes.remove(&tag)?;
        if let Some(dialog) = self.list.get_mut(&number) {
            dialog.byes = dialog.byes.saturating_sub(1);
            if dialog.byes == 0 {
                self.remove(number);
            }
        }
        Some(number)
    }
}

impl Dialog {
    /// The charging identifier.
    pub(crate) fn icid(&self) -> &str {
        self.between.word(0).unwrap_or_default()
    }

    /// Whether the request names this dialog as only its parties can.
    pub(crate) fn is_of(&self, request: &Request) -> bool {
        self.between.is_of(request)
    }

    /// Whether the next hop of a request is an application server of the dialog.
    pub(crate) fn goes_to_server(&self, request: &Request) -> bool {
        let next = request.headers.first_value(HeaderName::Route);
        let next = next.map_or(&*request.request_uri, |route| route);
        let Some(next) = Place::of_uri(next) else { return false };
        let place = |place: &Place<'_>| (place.host.to_ascii_lowercase(), place.effective_port());
        let here = place(&next);
        self.servers
            .iter()
            .filter_map(|server| Place::of_uri(server))
            .any(|server| place(&server) == here)
    }

    /// Whether this node is ending it.
    pub(crate) const fn is_released(&self) -> bool {
        self.byes > 0
    }
}

/// Whether a request takes a new target into the dialog (RFC 3261 §12.2, RFC 3311 §5.1).
pub(crate) const fn refreshes(method: &Method) -> bool {
    matches!(method, Method::Invite | Method::Update)
}

/// Whether an address of ours has this user part.
pub(crate) fn is_marked(text: &str, marker: &str) -> bool {
    // Most are of others, and of those the beginning tells.
    if text.strip_prefix("<sip:").is_some_and(|rest| !rest.starts_with(marker)) {
        return false;
    }
    NameAddr::parse(text).is_ok_and(|address| address.uri.user() == Some(marker))
}
