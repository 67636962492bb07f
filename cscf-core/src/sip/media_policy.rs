//! Which media and codecs a network permits (TS 24.229 §6.2, §6.3): whether a session description
//! keeps to it, and the description that says what would be permitted.

use super::{Connection, Media, Origin, Sdp};

/// A codec as RFC 8866 §6.6 names it.
struct Codec {
    name: &'static str,
    kind: &'static str,
    clock_rate: u32,
    /// Its payload type without `rtpmap` (RFC 3551 §6).
    payload: Option<u8>,
}

const fn codec(
    name: &'static str,
    kind: &'static str,
    clock_rate: u32,
    payload: Option<u8>,
) -> Codec {
    Codec { name, kind, clock_rate, payload }
}

/// Codecs whose medium and clock rate need not be said.
const KNOWN: &[Codec] = &[
    codec("EVS", "audio", 16_000, None),
    codec("AMR-WB", "audio", 16_000, None),
    codec("AMR", "audio", 8_000, None),
    codec("IVAS", "audio", 16_000, None),
    codec("PCMU", "audio", 8_000, Some(0)),
    codec("GSM", "audio", 8_000, Some(3)),
    codec("PCMA", "audio", 8_000, Some(8)),
    codec("G722", "audio", 8_000, Some(9)),
    codec("G729", "audio", 8_000, Some(18)),
    codec("opus", "audio", 48_000, None),
    codec(TELEPHONE_EVENT, "audio", 8_000, None),
    codec("H263", "video", 90_000, Some(34)),
    codec("H264", "video", 90_000, None),
    codec("H265", "video", 90_000, None),
    codec("VP8", "video", 90_000, None),
    codec("t140", "text", 1_000, None),
    codec("red", "text", 1_000, None),
];

/// Tones beside a codec, never the medium itself (RFC 4733).
const TELEPHONE_EVENT: &str = "telephone-event";

/// The first payload type without fixed meaning (RFC 3551 §6).
const DYNAMIC: u8 = 96;

/// What a network permits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaPolicy {
    /// Media types, e.g. `audio`; none: all.
    pub media: Option<Vec<String>>,
    /// Encoding names of RTP media, most preferred first; none: all. Tones (`telephone-event`) are
    /// permitted beside any.
    pub codecs: Option<Vec<String>>,
}

/// What in a session description is not permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotPermitted {
    /// The medium.
    pub medium: String,
    /// Its codecs, if these are the reason.
    pub codecs: Vec<String>,
}

impl std::fmt::Display for NotPermitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.medium)?;
        if self.codecs.is_empty() { Ok(()) } else { write!(f, " with {}", self.codecs.join(", ")) }
    }
}

impl MediaPolicy {
    /// Whether everything is permitted.
    #[must_use]
    pub const fn permits_all(&self) -> bool {
        self.media.is_none() && self.codecs.is_none()
    }

    /// What it permits, in words.
    #[must_use]
    pub fn in_words(&self) -> String {
        let list = |what: &str, all: &Option<Vec<String>>| match all {
            Some(names) => format!("{what} {}", names.join(", ")),
            None => format!("any {what}"),
        };
        format!("{}; {}", list("media", &self.media), list("codecs", &self.codecs))
    }

    /// Whether an offer keeps to it: each medium that is in use is of a permitted type and has at
    /// least one permitted codec.
    ///
    /// # Errors
    ///
    /// The first medium that does not.
    pub fn check_offer(&self, sdp: &Sdp) -> Result<(), NotPermitted> {
        self.check(sdp, |permitted, others| permitted == 0 && !others.is_empty())
    }

    /// Whether an answer keeps to it: there is no medium and no codec that is not permitted.
    ///
    /// # Errors
    ///
    /// The first medium that does not.
    pub fn check_answer(&self, sdp: &Sdp) -> Result<(), NotPermitted> {
        self.check(sdp, |_, others| !others.is_empty())
    }

    fn check(
        &self,
        sdp: &Sdp,
        is_wrong: impl Fn(usize, &[String]) -> bool,
    ) -> Result<(), NotPermitted> {
        for media in sdp.media.iter().filter(|media| media.port() != 0) {
            let medium = media.kind().to_owned();
            if !self.permits_medium(&medium) {
                return Err(NotPermitted { medium, codecs: Vec::new() });
            }
            let names = codec_names(media).filter(|name| !is_tones(name));
            let (fine, others): (Vec<String>, Vec<String>) =
                names.partition(|name| self.permits_codec(name));
            if is_wrong(fine.len(), &others) {
                return Err(NotPermitted { medium, codecs: others });
            }
        }
        Ok(())
    }

    fn permits_medium(&self, kind: &str) -> bool {
        self.media.as_ref().is_none_or(|all| all.iter().any(|its| its.eq_ignore_ascii_case(kind)))
    }

    fn permits_codec(&self, name: &str) -> bool {
        self.codecs.as_ref().is_none_or(|all| all.iter().any(|its| its.eq_ignore_ascii_case(name)))
    }

    /// What is permitted, as the description of capabilities it is (RFC 3264 §9): every permitted
    /// medium with port 0 and its codecs, in the order of preference. The payload types are those
    /// of `offer`. Where any codec is permitted, those of the offer stand; a medium that the offer
    /// does not have stands with the codecs known here.
    #[must_use]
    pub fn permitted(&self, offer: &Sdp, host: &str, number: u64) -> Sdp {
        let connection = match host.trim_matches(['[', ']']).parse() {
            Ok(address) => Connection::new(address),
            Err(_) => Connection { address_type: "IP4".to_owned(), address: host.to_owned() },
        };
        let origin = Origin {
            user: "-".to_owned(),
            session_id: number.to_string(),
            version: 0,
            address_type: connection.address_type.clone(),
            address: connection.address.clone(),
        };
        let mut sdp = Sdp::new(&origin, "-", &connection);
        let kinds = match &self.media {
            Some(kinds) => kinds.clone(),
            None => offer.media.iter().map(|media| media.kind().to_owned()).collect(),
        };
        let mut seen: Vec<String> = Vec::new();
        for kind in kinds {
            let kind = kind.to_ascii_lowercase();
            if seen.contains(&kind) {
                continue;
            }
            sdp.media.push(self.permitted_medium(offer, &kind));
            seen.push(kind);
        }
        sdp
    }

    fn permitted_medium(&self, offer: &Sdp, kind: &str) -> Media {
        let offered = offer.media.iter().find(|media| media.kind() == kind);
        let protocol = offered.map_or("RTP/AVP", Media::protocol);
        if !is_rtp(protocol) {
            let formats: Vec<&str> = offered.map(|it| it.formats().collect()).unwrap_or_default();
            return Media::new(kind, 0, protocol, &formats);
        }
        let mut names: Vec<String> = match &self.codecs {
            Some(all) => all.iter().filter(|name| kind_of(name) == kind).cloned().collect(),
            None => match offered {
                Some(media) => codec_names(media).collect(),
                None => {
                    KNOWN.iter().filter(|it| it.kind == kind).map(|it| it.name.into()).collect()
                }
            },
        };
        if kind == "audio" && !names.iter().any(|name| is_tones(name)) {
            names.push(TELEPHONE_EVENT.to_owned());
        }
        let mut taken: Vec<u8> =
            offered.into_iter().flat_map(Media::rtpmaps).map(|map| map.payload).collect();
        let mut maps: Vec<(u8, String)> = Vec::new();
        for name in &names {
            let theirs = offered.and_then(|media| {
                media.rtpmaps().find(|map| map.encoding.eq_ignore_ascii_case(name))
            });
            let known = KNOWN.iter().find(|codec| codec.name.eq_ignore_ascii_case(name));
            let payload = match (&theirs, known.and_then(|codec| codec.payload)) {
                (Some(map), _) => map.payload,
                (None, Some(payload)) => payload,
                (None, None) => {
                    let free = (DYNAMIC..128).find(|payload| !taken.contains(payload));
                    let Some(free) = free else { break };
                    taken.push(free);
                    free
                }
            };
            let value = theirs.map_or_else(
                || format!("{payload} {name}/{}", known.map_or(8_000, |codec| codec.clock_rate)),
                |map| map.to_string(),
            );
            maps.push((payload, value));
        }
        let formats: Vec<String> = maps.iter().map(|(payload, _)| payload.to_string()).collect();
        let formats: Vec<&str> = formats.iter().map(String::as_str).collect();
        let mut media = Media::new(kind, 0, protocol, &formats);
        for (_, value) in &maps {
            media.push_attribute("rtpmap", value);
        }
        media
    }
}

/// The encoding names of an RTP medium in the order of its formats; a payload type that nobody
/// explains stands for itself. Empty for media that are not RTP.
fn codec_names(media: &Media) -> impl Iterator<Item = String> {
    let rtp = is_rtp(media.protocol());
    media.formats().filter(move |_| rtp).map(|format| {
        let payload: Option<u8> = format.parse().ok();
        let map = media.rtpmaps().find(|map| Some(map.payload) == payload);
        map.map(|map| map.encoding).unwrap_or_else(|| {
            let known =
                KNOWN.iter().find(|codec| codec.payload.is_some() && codec.payload == payload);
            known.map_or_else(|| format.to_owned(), |codec| codec.name.to_owned())
        })
    })
}

fn is_rtp(protocol: &str) -> bool {
    protocol.to_ascii_uppercase().contains("RTP/")
}

fn is_tones(name: &str) -> bool {
    name.eq_ignore_ascii_case(TELEPHONE_EVENT)
}

/// The medium of a codec: audio unless it is known as another's.
fn kind_of(name: &str) -> &'static str {
    KNOWN.iter().find(|codec| codec.name.eq_ignore_ascii_case(name)).map_or("audio", |it| it.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdp(media: &str) -> Sdp {
        let head = "v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nc=IN IP4 10.0.0.1\nt=0 0\n";
        Sdp::parse(format!("{head}{media}").as_bytes()).expect("SDP")
    }

    fn policy(media: &[&str], codecs: &[&str]) -> MediaPolicy {
        let list = |names: &[&str]| {
            (!names.is_empty()).then(|| names.iter().map(|name| (*name).to_owned()).collect())
        };
        MediaPolicy { media: list(media), codecs: list(codecs) }
    }

    const AUDIO: &str = "m=audio 7000 RTP/AVP 97 0 98\na=rtpmap:97 AMR-WB/16000\n\
                         a=rtpmap:98 telephone-event/16000\n";
    const VIDEO: &str = "m=video 7002 RTP/AVP 99\na=rtpmap:99 H264/90000\n";

    #[test]
    fn an_offer_needs_one_permitted_codec_a_medium_and_an_answer_may_have_no_other() {
        let both = sdp(&format!("{AUDIO}{VIDEO}"));
        let audio = sdp(AUDIO);
        assert!(policy(&[], &[]).permits_all());
        assert_eq!(policy(&[], &[]).check_answer(&both), Ok(()));
        let wrong = policy(&["audio"], &[]).check_offer(&both).expect_err("video");
        assert_eq!(wrong.to_string(), "video");
        assert_eq!(policy(&["audio"], &["pcmu"]).check_offer(&audio), Ok(()));
        let wrong = policy(&[], &["PCMU"]).check_answer(&audio).expect_err("AMR-WB");
        assert_eq!(wrong.to_string(), "audio with AMR-WB");
        let wrong = policy(&[], &["AMR"]).check_offer(&audio).expect_err("none");
        assert_eq!(wrong.to_string(), "audio with AMR-WB, PCMU");
        // A medium that is refused already is no matter.
        let gone = sdp(&format!("{AUDIO}{}", VIDEO.replace("7002", "0")));
        assert_eq!(policy(&["audio"], &[]).check_offer(&gone), Ok(()));
        let messages = sdp("m=message 7004 TCP/MSRP *\n");
        assert_eq!(policy(&["audio", "message"], &["AMR"]).check_offer(&messages), Ok(()));
    }

    #[test]
    fn what_is_permitted_is_a_description_of_capabilities() {
        let offer = sdp(&format!("{AUDIO}{VIDEO}"));
        let permitted = policy(&["audio"], &["AMR", "AMR-WB", "PCMA"]);
        let text = permitted.permitted(&offer, "127.0.0.1", 7).to_string();
        assert_eq!(
            text,
            "v=0\r\no=- 7 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio 0 RTP/AVP 96 97 8 98\r\na=rtpmap:96 AMR/8000\r\na=rtpmap:97 AMR-WB/16000\r\n\
             a=rtpmap:8 PCMA/8000\r\na=rtpmap:98 telephone-event/16000\r\n"
        );
        let any = policy(&["video"], &[]).permitted(&sdp(AUDIO), "p1.ims.example", 8).to_string();
        assert!(any.contains("m=video 0 RTP/AVP 34 96 97 98\r\n"), "{any}");
        assert!(any.contains("c=IN IP4 p1.ims.example\r\n"), "{any}");
    }
}
