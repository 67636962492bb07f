//! The dialogs of served users, as far as a proxy has to know them: for the icid of requests in
//! them, and to end them when a user is gone (TS 24.229 §5.4.5).

use std::collections::{BTreeMap, BTreeSet};

use cscf_core::operator::Table;
use cscf_core::role::OwnTag;
use cscf_core::sip::{HeaderName, Headers, Method, NameAddr, Request, Response};

use crate::charging;

/// Our own BYEs are numbered apart from the NOTIFYs of the registration owner.
const BYE_TAGS: u64 = 1 << 63;

/// All dialogs, by the number in our Record-Route; the lowest is the oldest.
#[derive(Debug, Default)]
pub(crate) struct Dialogs {
    list: BTreeMap<u64, Dialog>,
    /// The dialogs of each user, by its Service-Route token.
    by_user: BTreeMap<Box<str>, BTreeSet<u64>>,
    byes: BTreeMap<OwnTag, u64>,
    count: u64,
    bye_count: u64,
}

/// One dialog that an INVITE opened.
#[derive(Debug)]
pub(crate) struct Dialog {
    pub(crate) icid: Box<str>,
    call_id: Box<str>,
    users: Vec<Box<str>>,
    caller: Party,
    callee: Party,
    confirmed: bool,
    /// BYEs of our own without an answer; requests are refused meanwhile.
    byes: usize,
}

/// One end of a dialog.
#[derive(Debug, Default)]
struct Party {
    /// Its From or To value, tag included.
    address: Box<str>,
    tag: Box<str>,
    contact: Option<Box<str>>,
    /// From here to it, nearest first.
    routes: Vec<Box<str>>,
    /// The highest number in its direction.
    cseq: u32,
}

impl Dialogs {
    /// What is shown of them.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(&["call_id", "caller", "callee", "state"]);
        for dialog in self.list.values() {
            table.push([
                dialog.call_id.to_string(),
                dialog.caller.address.to_string(),
                dialog.callee.address.to_string(),
                (if dialog.confirmed { "confirmed" } else { "early" }).to_owned(),
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
        self.list.get(&number)
    }

    /// Opens a dialog for an INVITE as it was received, for the users with these tokens.
    pub(crate) fn open(&mut self, invite: &Request, icid: &str, users: Vec<Box<str>>) -> u64 {
        self.count += 1;
        let caller = Party {
            address: value(&invite.headers, HeaderName::From),
            tag: invite.from_tag().unwrap_or_default().into(),
            contact: contact(&invite.headers),
            routes: invite.headers.values(HeaderName::RecordRoute).map(Into::into).collect(),
            cseq: invite.cseq().map_or(0, |cseq| cseq.number),
        };
        let dialog = Dialog {
            icid: icid.into(),
            call_id: invite.call_id().unwrap_or_default().into(),
            users: Vec::new(),
            caller,
            callee: Party::default(),
            confirmed: false,
            byes: 0,
        };
        self.list.insert(self.count, dialog);
        self.set_users(self.count, users);
        self.count
    }

    fn set_users(&mut self, number: u64, users: Vec<Box<str>>) {
        let Some(dialog) = self.list.get_mut(&number) else { return };
        for user in std::mem::take(&mut dialog.users) {
            if let Some(numbers) = self.by_user.get_mut(&user) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.by_user.remove(&user);
                }
            }
        }
        for user in &users {
            self.by_user.entry(user.clone()).or_default().insert(number);
        }
        dialog.users = users;
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
        user: Option<&str>,
    ) {
        let Some(dialog) = self.list.get_mut(&number) else { return };
        if !dialog.confirmed {
            dialog.confirmed = true;
            let callee = &mut dialog.callee;
            callee.address = value(&response.headers, HeaderName::To);
            callee.tag = response.to_tag().unwrap_or_default().into();
            let above = response.headers.values(HeaderName::RecordRoute);
            let above: Vec<Box<str>> =
                above.take_while(|text| !is_marked(text, marker)).map(Into::into).collect();
            callee.routes = above.into_iter().rev().collect();
            if let Some(user) = user {
                self.set_users(number, vec![user.into()]);
            }
        }
        if let Some(dialog) = self.list.get_mut(&number)
            && let Some(contact) = contact(&response.headers)
        {
            dialog.callee.contact = Some(contact);
        }
    }

    /// Notes numbers and targets of a request in the dialog; says whether the caller sent it.
    pub(crate) fn on_request(&mut self, number: u64, request: &Request) -> bool {
        let Some(dialog) = self.list.get_mut(&number) else { return false };
        let by_caller = request.from_tag() == Some(&*dialog.caller.tag);
        let sender = if by_caller { &mut dialog.caller } else { &mut dialog.callee };
        if let Ok(cseq) = request.cseq() {
            sender.cseq = sender.cseq.max(cseq.number);
        }
        if refreshes(&request.method)
            && let Some(contact) = contact(&request.headers)
        {
            sender.contact = Some(contact);
        }
        by_caller
    }

    /// Notes the target in the 2xx of a request in the dialog.
    pub(crate) fn on_success(&mut self, number: u64, by_caller: bool, response: &Response) {
        let Some(dialog) = self.list.get_mut(&number) else { return };
        let sender = if by_caller { &mut dialog.callee } else { &mut dialog.caller };
        if let Some(contact) = contact(&response.headers) {
            sender.contact = Some(contact);
        }
    }

    /// A user is gone: the numbers of its dialogs that nobody else of the same set may still take.
    pub(crate) fn of_user(&mut self, user: &str) -> Vec<u64> {
        let numbers = self.by_user.remove(user).unwrap_or_default();
        let mut over = Vec::new();
        for number in numbers {
            let Some(dialog) = self.list.get_mut(&number) else { continue };
            dialog.users.retain(|its| **its != *user);
            if dialog.users.is_empty() {
                over.push(number);
            }
        }
        over
    }

    /// The BYEs that end a confirmed dialog, to the caller and to the callee; none if it is not
    /// confirmed (TS 24.229 §5.4.5.1.2).
    pub(crate) fn byes(&mut self, number: u64, reason: &str) -> Vec<(OwnTag, Request)> {
        let Some(dialog) = self.list.get_mut(&number).filter(|its| its.confirmed) else {
            return Vec::new();
        };
        let Dialog { caller, callee, .. } = &mut *dialog;
        caller.cseq = caller.cseq.saturating_add(1);
        callee.cseq = callee.cseq.saturating_add(1);
        let to_caller = bye(&dialog.call_id, &dialog.callee, &dialog.caller);
        let to_callee = bye(&dialog.call_id, &dialog.caller, &dialog.callee);
        let mut list = Vec::new();
        for mut request in to_caller.into_iter().chain(to_callee) {
            request.headers.push(HeaderName::Reason, reason);
            charging::keep_icid(&mut request.headers, &dialog.icid);
            request.headers.push(HeaderName::ContentLength, "0");
            self.bye_count += 1;
            let tag = OwnTag(BYE_TAGS | self.bye_count);
            self.byes.insert(tag, number);
            dialog.byes += 1;
            list.push((tag, request));
        }
        list
    }

    /// One of our BYEs has its final answer; says whether it was one. With the last the dialog is
    /// forgotten.
    pub(crate) fn bye_answered(&mut self, tag: OwnTag) -> bool {
        let Some(number) = self.byes.remove(&tag) else { return false };
        if let Some(dialog) = self.list.get_mut(&number) {
            dialog.byes = dialog.byes.saturating_sub(1);
            if dialog.byes == 0 {
                self.remove(number);
            }
        }
        true
    }
}

impl Dialog {
    /// Whether the request names this dialog as only its parties can.
    pub(crate) fn is_of(&self, request: &Request) -> bool {
        let caller = Some(&*self.caller.tag);
        let same = request.call_id().is_some_and(|call_id| *call_id == *self.call_id);
        same && (request.from_tag() == caller || request.to_tag() == caller)
    }

    /// Whether this node is ending it.
    pub(crate) const fn is_released(&self) -> bool {
        self.byes > 0
    }
}

/// A BYE as if from one end to the other; `None` if there is no target.
fn bye(call_id: &str, from: &Party, to: &Party) -> Option<Request> {
    let mut request = Request::new(Method::Bye, to.contact.as_deref()?);
    for route in &to.routes {
        request.headers.push(HeaderName::Route, route);
    }
    request.headers.push(HeaderName::From, &from.address);
    request.headers.push(HeaderName::To, &to.address);
    request.headers.push(HeaderName::CallId, call_id);
    request.headers.push(HeaderName::CSeq, &format!("{} BYE", from.cseq));
    Some(request)
}

/// Whether a request takes a new target into the dialog (RFC 3261 §12.2, RFC 3311 §5.1).
pub(crate) const fn refreshes(method: &Method) -> bool {
    matches!(method, Method::Invite | Method::Update)
}

fn is_marked(text: &str, marker: &str) -> bool {
    NameAddr::parse(text).is_ok_and(|address| address.uri.user() == Some(marker))
}

fn value(headers: &Headers, name: HeaderName) -> Box<str> {
    headers.get(name).unwrap_or_default().into()
}

fn contact(headers: &Headers) -> Option<Box<str>> {
    let contacts = headers.contacts().ok()?;
    contacts.first().map(|contact| contact.uri.to_string().into())
}
