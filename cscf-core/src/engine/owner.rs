//! Which engine of a node a message belongs to, found by one light scan of its bytes before it is
//! parsed. In this order:
//!
//! 1. a response: the number in the branch of our Via on top;
//! 2. REGISTER, and SUBSCRIBE to the reg event outside a dialog: engine 0, which owns
//!    registrations;
//! 3. a request along a URI of ours (topmost Route, else Request-URI): the number in its user part;
//! 4. any other: by its Call-ID.
//!
//! Whatever a peer sends, the answer is a function of these fields alone, so a retransmission, a
//! CANCEL and the ACK of a failure find the engine of their request. What is no message at all
//! belongs to whoever received it.

use crate::ids::{Shard, ShardId};

/// What tells a branch of RFC 3261 (§8.1.1.7).
const COOKIE: &[u8] = b"z9hG4bK";

/// The fields that decide.
#[derive(Debug, Default)]
struct Fields<'a> {
    via: Option<&'a [u8]>,
    route: Option<&'a [u8]>,
    call_id: &'a [u8],
    reg_event: bool,
    in_dialog: bool,
}

/// The owner of a message; `None` for bytes without a start line.
#[must_use]
pub fn owner_of(bytes: &[u8], shard: Shard) -> Option<ShardId> {
    let (start, rest) = split_line(bytes)?;
    let first = start.split(|byte| *byte == b' ').next().unwrap_or_default();
    if starts_with(start, b"SIP/2.0 ") {
        let by_branch = Fields::read(rest, true).via.and_then(|via| of_branch(via, shard));
        return Some(by_branch.unwrap_or_default());
    }
    if first == b"REGISTER" {
        return Some(ShardId(0));
    }
    let fields = Fields::read(rest, false);
    if first == b"SUBSCRIBE" && fields.reg_event && !fields.in_dialog {
        return Some(ShardId(0));
    }
    let target = || start.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let by_uri = of_uri(fields.route.unwrap_or_else(target), shard);
    Some(by_uri.unwrap_or_else(|| shard.home_of(hash(fields.call_id))))
}

impl<'a> Fields<'a> {
    /// Reads header lines up to the empty one; of a response only to the first Via.
    fn read(mut rest: &'a [u8], response: bool) -> Self {
        let mut fields = Self::default();
        while let Some((line, after)) = split_line(rest) {
            if line.is_empty() || (response && fields.via.is_some()) {
                break;
            }
            fields.line(line, rest);
            rest = after;
        }
        fields
    }

    /// Takes one line; `rest` begins with it.
    fn line(&mut self, line: &'a [u8], rest: &'a [u8]) {
        // Most lines are told by their first letter.
        let first = line.first().map_or(0, u8::to_ascii_lowercase);
        if !matches!(first, b'c' | b'e' | b'i' | b'o' | b'r' | b't' | b'v') {
            return;
        }
        let Some(colon) = memchr::memchr(b':', line) else { return };
        let name = line.get(..colon).unwrap_or_default().trim_ascii_end();
        let value = || value_at(rest, colon);
        if is(name, b"via", b"v") {
            self.via.get_or_insert_with(value);
        } else if is(name, b"route", b"route") {
            self.route.get_or_insert_with(value);
        } else if is(name, b"call-id", b"i") {
            if self.call_id.is_empty() {
                self.call_id = value();
            }
        } else if is(name, b"event", b"o") {
            let value = value();
            let end = value.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t'));
            let package = value.get(..end.unwrap_or(value.len())).unwrap_or_default();
            self.reg_event |= package.eq_ignore_ascii_case(b"reg");
        } else if is(name, b"to", b"t") {
            self.in_dialog |= has_tag(value());
        }
    }
}

/// The next line without its end, and what follows; `None` at the end of the bytes.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..)?))
}

/// The value behind the colon, to the end of its line; it may begin on a line of its own
/// (RFC 3261 §7.3.1).
fn value_at(rest: &[u8], colon: usize) -> &[u8] {
    let mut value = rest.get(colon + 1..).unwrap_or_default();
    loop {
        let spaces = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        value = value.get(spaces..).unwrap_or_default();
        let folded = value.strip_prefix(b"\r").unwrap_or(value).strip_prefix(b"\n");
        match folded.filter(|next| matches!(next.first(), Some(b' ' | b'\t'))) {
            Some(next) => value = next,
            None => break,
        }
    }
    split_line(value).map_or(value, |(line, _)| line).trim_ascii_end()
}

fn is(name: &[u8], long: &[u8], short: &[u8]) -> bool {
    name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short)
}

fn starts_with(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether a To has a tag, as far as a scan can tell: behind the address, if that is in brackets.
fn has_tag(to: &[u8]) -> bool {
    let behind = memchr::memrchr(b'>', to).and_then(|end| to.get(end..)).unwrap_or(to);
    behind.split(|byte| *byte == b';').skip(1).any(|param| {
        let param = param.trim_ascii_start();
        starts_with(param, b"tag=") || starts_with(param, b"tag ")
    })
}

/// The number in the branch of the first Via value.
fn of_branch(via: &[u8], shard: Shard) -> Option<ShardId> {
    let value = via.split(|byte| *byte == b',').next()?;
    let branch = value.split(|byte| *byte == b';').skip(1).find_map(|param| {
        let param = param.trim_ascii();
        starts_with(param, b"branch=").then(|| param.get(b"branch=".len()..)).flatten()
    })?;
    numbered(branch.strip_prefix(COOKIE)?, shard)
}

/// The number in the user part of the first URI of a value.
fn of_uri(value: &[u8], shard: Shard) -> Option<ShardId> {
    let end = memchr::memchr2(b'>', b',', value).unwrap_or(value.len());
    let value = value.get(..end)?;
    let address = memchr::memchr(b'<', value).map_or(Some(value), |at| value.get(at + 1..))?;
    let (scheme, rest) = address.split_at_checked(memchr::memchr(b':', address)?)?;
    if !is(scheme, b"sip", b"sips") {
        return None;
    }
    let rest = rest.get(1..)?;
    let user = rest.get(..memchr::memchr(b'@', rest)?)?;
    numbered(user, shard)
}

/// The number before the first hyphen, if an engine has it.
fn numbered(text: &[u8], shard: Shard) -> Option<ShardId> {
    let (id, _) = ShardId::leading(text)?;
    (id.0 < shard.count).then_some(id)
}

/// FNV-1a with a last mix: Call-IDs that differ little shall not meet in one engine.
fn hash(bytes: &[u8]) -> u64 {
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (sum ^ (sum >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Ids, Seed};

    const FOUR: Shard = Shard { id: ShardId(0), count: 4 };

    fn owner(text: &str) -> u8 {
        owner_of(text.replace('\n', "\r\n").as_bytes(), FOUR).expect("a message").0
    }

    fn request(head: &str, lines: &str) -> u8 {
        owner(&format!("{head} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK3-x\n{lines}\n\n"))
    }

    #[test]
    fn a_response_comes_home_by_the_branch_of_the_top_via() {
        let via = |via: &str| owner(&format!("SIP/2.0 200 OK\n{via}\nCall-ID: a\n\n"));
        assert_eq!(via("Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK2-ab;rport"), 2);
        assert_eq!(via("v: SIP/2.0/UDP a;branch=z9hG4bK3-ab, SIP/2.0/UDP b;branch=z9hG4bK1-c"), 3);
        assert_eq!(via("Via:\n SIP/2.0/UDP a ; Branch=z9hG4bK1-ab"), 1);
        assert_eq!(via("Via: SIP/2.0/UDP a;branch=z9hG4bK2-ab\nVia: SIP/2.0/UDP b;branch=1"), 2);
        // What is none of ours belongs to nobody: engine 0 drops it.
        assert_eq!(via("Via: SIP/2.0/UDP a;branch=z9hG4bK9-ab"), 0);
        assert_eq!(via("Via: SIP/2.0/UDP a;branch=z9hG4bK4294967297-ab"), 0);
        assert_eq!(via("From: <sip:a@b>"), 0);
    }

    #[test]
    fn a_request_follows_a_uri_of_ours() {
        let rr = "Route: <sip:3-d00000000000000ab@p1.ims.example:5060;lr>";
        assert_eq!(request("BYE sip:1-x@ue.example", rr), 3);
        assert_eq!(request("BYE sip:a@b", "rOuTe :\n\t<sip:2-term-rr.7@s1;lr>, <sip:1-x@y>"), 2);
        assert_eq!(request("NOTIFY sip:2-r01@p1.ims.example", "Call-ID: a"), 2);
        // A Route without our mark hides the Request-URI.
        let by_call_id = request("BYE sip:a@b", "Call-ID: a");
        assert_eq!(request("BYE sip:2-a@b", "Route: <sip:p1;lr>\nCall-ID: a"), by_call_id);
        assert_eq!(request("BYE tel:2-a@b", "i: a"), by_call_id);
        assert_eq!(request("BYE sip:7-a@b", "call-id:   a  "), by_call_id);
    }

    #[test]
    fn registrations_and_subscriptions_to_them_are_of_engine_0() {
        let route = "Route: <sip:2-orig-ab@s1;lr>\nCall-ID: b";
        assert_eq!(request("REGISTER sip:2-x@y", route), 0);
        let outside = "To: <sip:a@b;tag=no>\nEvent: reg;x=y";
        assert_eq!(request("SUBSCRIBE sip:a@b", &format!("{route}\n{outside}")), 0);
        let inside = "t: <sip:a@b> ; tag=1\no: reg";
        assert_eq!(request("SUBSCRIBE sip:a@b", &format!("{route}\n{inside}")), 2);
        let other = "To: <sip:a@b>\nEvent: presence";
        assert_eq!(request("SUBSCRIBE sip:a@b", &format!("{route}\n{other}")), 2);
    }

    #[test]
    fn other_requests_are_spread_by_their_call_id() {
        let mut of = [0; 4];
        for number in 0..4_000 {
            let call_id = format!("Call-ID: call-{number}@192.0.2.1");
            of[usize::from(request("INVITE sip:bob@ims.example", &call_id))] += 1;
            let again = request("CANCEL sip:bob@ims.example", &call_id);
            assert_eq!(again, request("INVITE sip:bob@ims.example", &call_id));
        }
        assert!(of.iter().all(|count| (900..1_100).contains(count)), "{of:?}");
    }

    #[test]
    fn what_the_ids_make_leads_home() {
        let mut ids = Ids::new(Seed([1; 32]), ShardId(3));
        let branch = ids.branch();
        assert_eq!(
            owner(&format!("SIP/2.0 180 Ringing\nVia: SIP/2.0/UDP a;branch={branch}\n\n")),
            3
        );
        let shard = Shard { id: ShardId(3), count: 4 };
        let user = shard.marked(shard.id, "orig-rr.7");
        assert_eq!(shard.unmarked(&user), "orig-rr.7");
        assert_eq!(request(&format!("BYE sip:{user}@s1"), "Call-ID: a"), 3);
        assert_eq!(Shard::ALONE.marked(ShardId(0), "orig-rr.7"), "orig-rr.7");
        assert_eq!(Shard::ALONE.unmarked("0-orig-rr.7"), "0-orig-rr.7");
    }

    #[test]
    fn any_bytes_have_an_owner_that_exists() {
        let whole = "INVITE sip:2-a@b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1-a\r\n\
                     Route:\r\n <sip:3-d@p1;lr>\r\nTo: <sip:x>;tag=1\r\nCall-ID: a\r\n\r\nbody";
        let mut chance = Ids::new(Seed([2; 32]), ShardId(0));
        let below = |owner: Option<ShardId>| assert!(owner.is_none_or(|owner| owner.0 < 4));
        for end in 0..whole.len() {
            below(owner_of(&whole.as_bytes()[..end], FOUR));
        }
        for _ in 0..20_000 {
            let mut bytes = whole.as_bytes().to_vec();
            for _ in 0..4 {
                let at = usize::try_from(chance.below(bytes.len() as u64)).expect("small");
                bytes[at] = chance.block()[0];
            }
            below(owner_of(&bytes, FOUR));
        }
    }
}
