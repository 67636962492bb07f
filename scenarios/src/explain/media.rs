//! Rules of session descriptions and their codecs (RFC 3264, RFC 8866, RFC 4867, RFC 4733,
//! TS 26.114, TS 26.445).

use cscf_core::clause::{rfc3264, rfc4733, rfc4867, rfc8866, ts26114, ts26445};
use cscf_core::sip::{Media, RtpMap, Sdp};

use super::offers::{Described, Part};
use super::rule::{Found, rules};
use super::traffic::{Item, Traffic};

rules! {
    UNREADABLE = Error "SDP-010" rfc8866("5"),
        "the session description lacks a mandatory line",
        "the peer refuses it with 400 or 488",
        "write v=, o=, s=, c= (for the session or each stream) and t=";
    VERSION = Error "SDP-020" rfc3264("8"),
        "the version in o= does not follow the description",
        "the peer takes the new description for the old one, or the old one for a change",
        "raise the version by one when the description changes, and only then";
    SHRUNK = Error "SDP-030" rfc3264("8"),
        "a later description drops or reorders streams",
        "streams are told apart by their place alone",
        "keep each m= line in its place; set its port to 0 when the stream ends";
    STREAMS_DIFFER = Error "SDP-040" rfc3264("6"),
        "the answer has not the streams of the offer",
        "the caller cannot tell what was accepted; the call fails",
        "answer each m= line with one of the same kind in the same place, with port 0 to refuse";
    NOTHING_COMMON = Error "SDP-050" rfc3264("6.1"),
        "the answer accepts a stream with no format of the offer",
        "neither side understands what the other sends",
        "choose among the formats of the offer, or refuse the stream with port 0";
    NO_RTPMAP = Error "SDP-060" rfc3264("5.1"),
        "a dynamic payload type has no rtpmap",
        "nobody knows what the number means",
        "write a=rtpmap for each payload type from 96 on";
    ORDER_OF_NUMBERS = Error "SDP-070" rfc3264("8.3.2"),
        "a payload type changed its meaning within a session",
        "packets on the way are decoded with the wrong codec",
        "give a new codec a number that was not used before in this session";
    NO_BANDWIDTH = Warning "SDP-080" ts26114("6.2.5"),
        "a stream has no b=AS",
        "the network cannot ask for a bearer of the right size",
        "write b=AS for each stream, e.g. 38 to 49 for AMR-WB";
    NO_RTCP_BANDWIDTH = Hint "SDP-090" ts26114("7.3"),
        "b=RS or b=RR is missing",
        "RTCP takes five per cent of the bearer",
        "write b=RS and b=RR";
    CLOCK = Error "SDP-100" rfc4867("8.1"),
        "AMR, AMR-WB or EVS has the wrong clock rate",
        "time stamps do not fit; the stream is refused or cannot be understood",
        "write AMR/8000, AMR-WB/16000 and EVS/16000";
    ALIGNMENT = Error "SDP-110" rfc4867("8.3.1"),
        "octet-align of the answer is not that of the offered payload type",
        "each side packs bits in another way: noise",
        "answer with the payload type whose octet-align is wanted, and repeat it";
    MODE_SET = Error "SDP-120" rfc4867("8.3.1"),
        "mode-set of the answer is not that of the offer",
        "modes are sent that the peer cannot decode",
        "repeat the offered mode-set, or choose another payload type";
    MODE_CHANGE = Warning "SDP-130" ts26114("6.2.2.2"),
        "AMR or AMR-WB is offered without mode-change-capability=2",
        "a peer that can change modes only in every other frame has to take care unasked",
        "write mode-change-capability=2 into the fmtp of an offer";
    REDUNDANCY = Warning "SDP-140" ts26114("6.2.2.2"),
        "AMR, AMR-WB or EVS is offered without max-red",
        "the peer does not know how much redundancy it may send",
        "write max-red=220, or max-red=0 if there shall be none";
    PACKET_TIME = Warning "SDP-150" ts26114("7.4.2"),
        "audio of VoLTE has no ptime or no maxptime",
        "the peer may send packets of a length that was not planned for",
        "write a=ptime:20 and a=maxptime:240";
    EVENT_CLOCK = Error "SDP-160" rfc4733("2.1"),
        "no telephone-event has the clock rate of an offered codec",
        "digits cannot be sent once that codec is chosen",
        "write a telephone-event of 16000 for AMR-WB and EVS, of 8000 for AMR and PCMU";
    EVS_VALUE = Error "SDP-170" ts26445("A.3"),
        "a parameter of EVS has a value that it cannot have",
        "the peer refuses the stream with 488",
        "br is a bit rate or range from 5.9 to 128, bw one of nb wb swb fb or a range, \
         ch-aw-recv one of -1 0 2 3 5 7";
    EVS_RANGE = Error "SDP-180" ts26445("A.3.3.1"),
        "the answer goes beyond the bit rate or bandwidth of the offered EVS",
        "the peer gets frames it has not asked for, or the stream is refused",
        "answer with br and bw within what was offered";
}

/// Looks at all descriptions.
pub(super) fn check(traffic: &Traffic, described: &[Described<'_>], found: &mut Found) {
    for item in traffic.fresh().filter(|item| item.own) {
        if let Some(sdp) = &item.sdp {
            form(item, sdp, found);
        } else if item
            .header(cscf_core::sip::HeaderName::ContentType)
            .starts_with("application/sdp")
        {
            found.add(&UNREADABLE, item, "cannot be read at all");
        }
    }
    for it in described {
        if let Some(before) = it.before {
            later(it, before, found);
        }
        match it.peer {
            Some(offer) if it.part == Part::Answer => answer(it, offer, found),
            _ => offer(it, found),
        }
    }
}

fn form(item: &Item, sdp: &Sdp, found: &mut Found) {
    let lacking =
        ['v', 'o', 's'].into_iter().find(|kind| !sdp.session.iter().any(|line| line.kind == *kind));
    if let Some(kind) = lacking {
        found.add(&UNREADABLE, item, format!("no {kind}= line"));
    } else if sdp.origin().is_none() {
        found.add(&UNREADABLE, item, "o= cannot be read");
    }
    for media in sdp.media.iter().filter(|media| media.port() != 0) {
        if sdp.connection_of(media).is_none() {
            found.add(&UNREADABLE, item, format!("no c= line for {}", media.kind()));
        }
        if !media.protocol().starts_with("RTP/") {
            continue;
        }
        let maps: Vec<RtpMap> = media.rtpmaps().collect();
        let unknown = media
            .formats()
            .filter_map(|it| it.parse::<u8>().ok())
            .find(|payload| *payload >= 96 && !maps.iter().any(|map| map.payload == *payload));
        if let Some(payload) = unknown {
            found.add(&NO_RTPMAP, item, format!("payload type {payload} of {}", media.kind()));
        }
        codecs(item, media, &maps, found);
        if media.bandwidth("AS").is_none() && is_volte(&maps) {
            found.add(&NO_BANDWIDTH, item, media.kind());
        }
        let rtcp = ["RS", "RR"]
            .into_iter()
            .find(|kind| media.bandwidth(kind).is_none() && sdp.bandwidth(kind).is_none());
        if let Some(kind) = rtcp.filter(|_| is_volte(&maps)) {
            found.add(&NO_RTCP_BANDWIDTH, item, format!("b={kind} of {}", media.kind()));
        }
    }
}

/// Whether one of the codecs of a 3GPP terminal is there.
fn is_volte(maps: &[RtpMap]) -> bool {
    maps.iter().any(|map| is(map, "AMR") || is(map, "AMR-WB") || is(map, "EVS"))
}

fn is(map: &RtpMap, name: &str) -> bool {
    map.encoding.eq_ignore_ascii_case(name)
}

fn codecs(item: &Item, media: &Media, maps: &[RtpMap], found: &mut Found) {
    for map in maps {
        let right = [("AMR", 8_000), ("AMR-WB", 16_000), ("EVS", 16_000)];
        let wrong = right.iter().any(|(name, rate)| is(map, name) && map.clock_rate != *rate);
        if wrong {
            found.add(&CLOCK, item, format!("{}/{}", map.encoding, map.clock_rate));
        }
        if is(map, "EVS") {
            evs(item, media, map, found);
        }
    }
    let events: Vec<u32> =
        maps.iter().filter(|it| is(it, "telephone-event")).map(|it| it.clock_rate).collect();
    let alone = maps.iter().filter(|it| !is(it, "telephone-event")).find(|map| {
        !events.is_empty() && media.kind() == "audio" && !events.contains(&map.clock_rate)
    });
    if let Some(map) = alone {
        let detail = format!("{}/{}, telephone-event {events:?}", map.encoding, map.clock_rate);
        found.add(&EVENT_CLOCK, item, detail);
    }
}

/// One parameter of a format.
fn param<'a>(media: &'a Media, payload: u8, name: &str) -> Option<&'a str> {
    let all = media.fmtp(&payload.to_string())?;
    all.split(';').map(str::trim).find_map(|it| {
        let (its, value) = it.split_once('=').unwrap_or((it, ""));
        its.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The bit rates of EVS in units of 100 bit/s (TS 26.445 table 1).
const EVS_RATES: [u32; 12] = [59, 72, 80, 96, 132, 164, 244, 320, 480, 640, 960, 1_280];
const EVS_BANDS: [&str; 4] = ["nb", "wb", "swb", "fb"];

/// The range that a value of br names, in units of 100 bit/s.
fn rates(text: &str) -> Option<(u32, u32)> {
    let rate = |text: &str| {
        let (whole, tenth) = text.split_once('.').unwrap_or((text, "0"));
        let value = whole.parse::<u32>().ok()?.checked_mul(10)?.checked_add(tenth.parse().ok()?)?;
        EVS_RATES.contains(&value).then_some(value)
    };
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let range = (rate(low)?, rate(high)?);
    (range.0 <= range.1).then_some(range)
}

/// The range that a value of bw names, by the place in the list of bandwidths.
fn bands(text: &str) -> Option<(u32, u32)> {
    let band = |text: &str| {
        let at = EVS_BANDS.iter().position(|it| text.eq_ignore_ascii_case(it))?;
        u32::try_from(at).ok()
    };
    match text.split_once('-') {
        // A range begins with narrow band.
        Some((low, high)) => Some((band(low)?, band(high)?)).filter(|it| it.0 == 0 && it.1 > 0),
        None => band(text).map(|it| (it, it)),
    }
}

fn evs(item: &Item, media: &Media, map: &RtpMap, found: &mut Found) {
    let aware = |text: &str| ["-1", "0", "2", "3", "5", "7"].contains(&text);
    for (name, valid) in [
        ("br", Box::new(|it: &str| rates(it).is_some()) as Box<dyn Fn(&str) -> bool>),
        ("br-send", Box::new(|it: &str| rates(it).is_some())),
        ("br-recv", Box::new(|it: &str| rates(it).is_some())),
        ("bw", Box::new(|it: &str| bands(it).is_some())),
        ("bw-send", Box::new(|it: &str| bands(it).is_some())),
        ("bw-recv", Box::new(|it: &str| bands(it).is_some())),
        ("ch-aw-recv", Box::new(aware)),
    ] {
        if let Some(value) = param(media, map.payload, name)
            && !valid(value)
        {
            found.add(&EVS_VALUE, item, format!("{name}={value}"));
        }
    }
}

/// A description against the one before it of the same side.
fn later(it: &Described<'_>, before: (&Item, &Sdp), found: &mut Found) {
    let (first, old) = before;
    let (item, new) = (it.item, it.sdp);
    if let (Some(had), Some(has)) = (old.origin(), new.origin())
        && had.session_id == has.session_id
    {
        let changed = without_origin(old) != without_origin(new);
        let wanted = if changed { had.version.wrapping_add(1) } else { had.version };
        if has.version != wanted && (changed || has.version != had.version.wrapping_add(1)) {
            let what = if changed { "changed" } else { "unchanged" };
            let detail = format!("version {} after {}, the rest {what}", has.version, had.version);
            found.against(&VERSION, item, &[first], detail);
        }
    }
    let moved = old.media.iter().enumerate().find(|(index, media)| {
        let now = new.media.get(*index);
        // The place of a stream that has ended may be used again (§8.1).
        now.is_none_or(|now| media.port() != 0 && now.port() != 0 && now.kind() != media.kind())
    });
    if let Some((index, media)) = moved {
        let now = new.media.get(index).map_or("nothing", Media::kind);
        let detail = format!("stream {} was {}, is {now}", index + 1, media.kind());
        found.against(&SHRUNK, item, &[first], detail);
    }
    for (was, now) in old.media.iter().zip(&new.media) {
        let maps: Vec<RtpMap> = now.rtpmaps().collect();
        let other = was.rtpmaps().find(|map| {
            maps.iter().any(|it| {
                it.payload == map.payload
                    && (!is(it, &map.encoding) || it.clock_rate != map.clock_rate)
            })
        });
        if let Some(map) = other {
            let detail = format!("payload type {} was {}", map.payload, map.encoding);
            found.against(&ORDER_OF_NUMBERS, item, &[first], detail);
        }
    }
}

fn without_origin(sdp: &Sdp) -> Vec<(char, &str)> {
    let lines = sdp.lines().filter(|line| line.kind != 'o');
    lines.map(|line| (line.kind, &*line.value)).collect()
}

fn offer(it: &Described<'_>, found: &mut Found) {
    for media in it.sdp.media.iter().filter(|it| it.port() != 0 && it.kind() == "audio") {
        let maps: Vec<RtpMap> = media.rtpmaps().collect();
        for map in &maps {
            let amr = is(map, "AMR") || is(map, "AMR-WB");
            let name = format!("{} ({})", map.encoding, map.payload);
            if amr && param(media, map.payload, "mode-change-capability") != Some("2") {
                found.add(&MODE_CHANGE, it.item, name.clone());
            }
            let redundancy = param(media, map.payload, "max-red");
            if (amr || is(map, "EVS")) && redundancy.is_none() {
                found.add(&REDUNDANCY, it.item, name);
            }
        }
        let lacking = ["ptime", "maxptime"].into_iter().find(|it| media.attribute(it).is_none());
        if let Some(name) = lacking.filter(|_| is_volte(&maps)) {
            found.add(&PACKET_TIME, it.item, format!("a={name} is missing"));
        }
    }
}

fn answer(it: &Described<'_>, (offer, offered): (&Item, &Sdp), found: &mut Found) {
    let kinds = |sdp: &Sdp| -> Vec<String> {
        sdp.media.iter().map(|media| media.kind().to_owned()).collect()
    };
    let (had, has) = (kinds(offered), kinds(it.sdp));
    if had != has {
        let detail = format!("offered {}, answered {}", had.join(" "), has.join(" "));
        found.against(&STREAMS_DIFFER, it.item, &[offer], detail);
        return;
    }
    for (theirs, ours) in offered.media.iter().zip(&it.sdp.media) {
        if ours.port() == 0 || theirs.port() == 0 || !ours.protocol().starts_with("RTP/") {
            continue;
        }
        let common = ours.formats().any(|it| theirs.formats().any(|offered| offered == it));
        // An answer may number a codec in another way (RFC 3264 §6.1).
        let offered_maps: Vec<RtpMap> = theirs.rtpmaps().collect();
        let maps: Vec<RtpMap> = ours.rtpmaps().collect();
        let same = |a: &RtpMap, b: &RtpMap| is(a, &b.encoding) && a.clock_rate == b.clock_rate;
        let renamed = maps.iter().any(|it| offered_maps.iter().any(|known| same(it, known)));
        if !common && !renamed {
            let detail = format!("{}: {:?}", ours.kind(), ours.formats().collect::<Vec<_>>());
            found.against(&NOTHING_COMMON, it.item, &[offer], detail);
        }
        for map in &maps {
            let known = offered_maps.iter().find(|it| it.payload == map.payload && same(it, map));
            if let Some(known) = known {
                parameters(it, offer, (theirs, ours), known, found);
            }
        }
    }
}

/// The parameters of one payload type that is in offer and answer.
fn parameters(
    it: &Described<'_>,
    offer: &Item,
    (theirs, ours): (&Media, &Media),
    map: &RtpMap,
    found: &mut Found,
) {
    let both = |name| (param(theirs, map.payload, name), param(ours, map.payload, name));
    if is(map, "AMR") || is(map, "AMR-WB") {
        let (had, has) = both("octet-align");
        if (had == Some("1")) != (has == Some("1")) {
            let show = |it: Option<&str>| it.unwrap_or("0").to_owned();
            let detail = format!("{}: offered {}, answered {}", map.encoding, show(had), show(has));
            found.against(&ALIGNMENT, it.item, &[offer], detail);
        }
        let (had, has) = both("mode-set");
        if let Some(had) = had
            && has != Some(had)
        {
            let detail =
                format!("{}: offered {had}, answered {}", map.encoding, has.unwrap_or("all"));
            found.against(&MODE_SET, it.item, &[offer], detail);
        }
    }
    if is(map, "EVS") {
        for (name, range) in [("br", rates as fn(&str) -> Option<(u32, u32)>), ("bw", bands)] {
            let (had, has) = both(name);
            let (Some(had), Some(has)) = (had, has) else { continue };
            if let (Some(offered), Some(answered)) = (range(had), range(has))
                && (answered.0 < offered.0 || answered.1 > offered.1)
            {
                let detail = format!("{name}: offered {had}, answered {has}");
                found.against(&EVS_RANGE, it.item, &[offer], detail);
            }
        }
    }
}
