//! The streams of a dialog: offers and answers as SDP (RFC 3264), hold, and the precondition
//! attributes in them. One audio stream is ours, and a video stream where the plan has one
//! ([`super::video`]); every other stream offered is refused with port 0.

use std::net::IpAddr;

use super::formats::{
    answered_fmtp, has_parameter, is_voice, map_of, offered_direction, read_qos, write_qos,
};
use super::precondition::Preconditions;
use super::video::VideoPlan;
use crate::sip::{Connection, Direction, Media as Stream, Origin, RtpMap, Sdp, SdpError};

/// Streams an offer may have.
const STREAMS_MAX: usize = 32;

/// A codec, or telephone-event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    /// The payload type in our own offers.
    pub payload: u8,
    /// The encoding name, e.g. `AMR-WB`.
    pub name: &'static str,
    /// The clock rate in Hz.
    pub clock_rate: u32,
    /// Format parameters, empty for none.
    pub fmtp: &'static str,
}

impl Codec {
    /// Whether it carries tones, not voice (RFC 4733).
    fn is_tones(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event")
    }
}

/// What an end can and wants in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPlan {
    /// Where it receives.
    pub address: IpAddr,
    /// The RTP port.
    pub port: u16,
    /// The session identifier in `o=`.
    pub session_id: u64,
    /// The codecs, best first.
    pub codecs: Vec<Codec>,
    /// `b=AS` in kbit/s.
    pub bandwidth_as: u32,
    /// `b=RS` and `b=RR` in bit/s, if said.
    pub bandwidth_rtcp: Option<(u32, u32)>,
    /// `a=ptime` and `a=maxptime` in ms, if said.
    pub packet_times: Option<(u16, u16)>,
    /// The video stream it can, if any.
    pub video: Option<VideoPlan>,
    /// Whether an answer lists every common codec, not only the first (RFC 3264 §6.1 allows both).
    pub all_codecs: bool,
}

impl MediaPlan {
    /// What is left of the plan where only a description's media and codecs are allowed, e.g. that
    /// of a 488 (TS 24.229 §5.1.3.1). `None` when nothing is left, or nothing changes.
    #[must_use]
    pub fn restricted_to(&self, body: &[u8]) -> Option<Self> {
        let allowed = Sdp::parse(body).ok()?;
        let voice = allowed.media.iter().find(|stream| stream.kind() == "audio")?;
        let maps: Vec<RtpMap> = voice.rtpmaps().collect();
        let formats = voice.formats().filter_map(|format| format.parse::<u8>().ok());
        let maps: Vec<RtpMap> = formats.filter_map(|payload| map_of(payload, &maps)).collect();
        let mut plan = self.clone();
        plan.codecs.retain(|codec| {
            maps.iter().any(|map| {
                map.clock_rate == codec.clock_rate && map.encoding.eq_ignore_ascii_case(codec.name)
            })
        });
        let video = allowed.media.iter().any(|stream| stream.kind() == "video");
        plan.video = plan.video.filter(|_| video);
        let speaks = plan.codecs.iter().any(|codec| !codec.is_tones());
        (speaks && plan != *self).then_some(plan)
    }
}

/// Why a description cannot be used; the culprit is the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// No format that both ends know.
    #[error("no common codec")]
    NoCommonCodec,
    /// No voice stream, or it is refused.
    #[error("no voice stream")]
    NoVoice,
    /// Not SDP.
    #[error(transparent)]
    NotSdp(#[from] SdpError),
    /// An answer with other streams than the offer, or more of them than anybody needs.
    #[error("{found} streams do not fit")]
    Streams {
        /// How many there are.
        found: usize,
    },
}

impl MediaError {
    /// The status of a refusal (RFC 3261 §13.3.1.3).
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotSdp(_) => 400,
            Self::NoCommonCodec | Self::NoVoice | Self::Streams { .. } => 488,
        }
    }

    /// The value of Warning (RFC 3261 §20.43).
    #[must_use]
    pub const fn warning(&self) -> &'static str {
        match self {
            Self::NoCommonCodec => "305 ua \"Incompatible media format\"",
            Self::NoVoice => "304 ua \"Media type not available\"",
            Self::NotSdp(_) | Self::Streams { .. } => "399 ua \"Session description unusable\"",
        }
    }
}

/// The stream of one dialog.
#[derive(Clone, Debug)]
pub struct Media {
    plan: MediaPlan,
    /// Our last description, as it was sent.
    ours: Option<Sdp>,
    /// The peer's offer that is to be answered.
    offer: Option<Sdp>,
    /// Whether we use preconditions, and whether our resources were there from the start.
    reserved: Option<bool>,
    /// The status table, while both ends use preconditions.
    qos: Option<Preconditions>,
    /// We put the peer on hold.
    hold: bool,
    held_by_peer: bool,
    /// `hold` as it was agreed last.
    agreed_hold: bool,
    /// We want video.
    video: bool,
    /// Whether there is video, as it was agreed last.
    agreed_video: bool,
    /// Our last description holds more than was agreed: the next is another version.
    narrowed: bool,
}

impl Media {
    /// A stream before any offer. `preconditions`: whether they are used, and if so whether the
    /// resources are there already.
    #[must_use]
    pub fn new(plan: MediaPlan, preconditions: Option<bool>) -> Self {
        Self {
            video: plan.video.as_ref().is_some_and(|video| video.offered),
            plan,
            ours: None,
            offer: None,
            reserved: preconditions,
            qos: None,
            hold: false,
            held_by_peer: false,
            agreed_hold: false,
            agreed_video: false,
            narrowed: false,
        }
    }

    /// Our offer; a changed one has the next version (RFC 3264 §8).
    pub fn offer(&mut self) -> String {
        let mut sdp = match &self.ours {
            Some(last) => last.clone(),
            None => {
                self.qos = self.reserved.map(Preconditions::caller);
                self.capable()
            }
        };
        self.place_video(&mut sdp);
        let direction = match (self.hold, self.held_by_peer) {
            (false, false) => Direction::SendRecv,
            (false, true) => Direction::RecvOnly,
            (true, false) => Direction::SendOnly,
            (true, true) => Direction::Inactive,
        };
        for stream in sdp.media.iter_mut().filter(|stream| stream.port() != 0) {
            stream.set_direction(direction);
            write_qos(stream, self.qos.as_ref());
        }
        self.keep(sdp)
    }

    /// Takes the peer's offer; [`Media::answer`] then gives the answer.
    ///
    /// # Errors
    ///
    /// [`MediaError`]; what was agreed before stays.
    pub fn take_offer(&mut self, body: &[u8]) -> Result<(), MediaError> {
        let sdp = Sdp::parse(body)?;
        if sdp.media.len() > STREAMS_MAX {
            return Err(MediaError::Streams { found: sdp.media.len() });
        }
        let at = self.usable_stream(&sdp)?;
        let Some(stream) = sdp.media.get(at) else { return Err(MediaError::NoVoice) };
        let said = read_qos(stream);
        self.qos = match (self.reserved, said, self.qos) {
            (Some(_), Some(said), Some(mut known)) => {
                known.learn(&said);
                Some(known)
            }
            (Some(reserved), Some(said), None) => Some(Preconditions::callee(said, reserved)),
            (_, None, known) => known.filter(|_| self.ours.is_some()),
            (None, Some(_), _) => None,
        };
        self.held_by_peer = !offered_direction(&sdp, stream).receives();
        self.offer = Some(sdp);
        Ok(())
    }

    /// The answer to the offer taken last: the same streams in the same order, of ours the first
    /// common codec with its tones (RFC 3264 §6).
    pub fn answer(&mut self) -> String {
        let Some(offer) = self.offer.take() else { return self.offer() };
        let chosen = self.usable_stream(&offer).ok();
        let video = self.plan.video.as_ref().and_then(|plan| plan.usable_in(&offer));
        self.video = video.is_some();
        self.agreed_video = self.video;
        let mut sdp = self.blank();
        for (at, offered) in offer.media.iter().enumerate() {
            let formats: Vec<&str> = offered.formats().collect();
            let stream = if Some(at) == chosen {
                self.answered_stream(&offer, offered)
            } else if let Some((_, plan, map)) = video.filter(|(found, ..)| *found == at) {
                let mut stream = plan.answered(offered, map);
                let own = if self.hold { Direction::SendOnly } else { Direction::SendRecv };
                stream.set_direction(own.answered_by(offered_direction(&offer, offered)));
                write_qos(&mut stream, self.qos.as_ref());
                stream
            } else {
                Stream::new(offered.kind(), 0, offered.protocol(), &formats)
            };
            sdp.media.push(stream);
        }
        self.keep(sdp)
    }

    fn answered_stream(&self, offer: &Sdp, offered: &Stream) -> Stream {
        let common = self.common(offered, self.plan.all_codecs);
        let formats: Vec<String> = common.iter().map(|(map, _)| map.payload.to_string()).collect();
        let formats: Vec<&str> = formats.iter().map(String::as_str).collect();
        let mut stream = Stream::new("audio", self.plan.port, offered.protocol(), &formats);
        self.write_bandwidth(&mut stream);
        for (map, codec) in &common {
            stream.push_attribute("rtpmap", &map.to_string());
            if !codec.fmtp.is_empty() {
                let fmtp = answered_fmtp(codec, offered.fmtp(&map.payload.to_string()));
                stream.push_attribute("fmtp", &format!("{} {fmtp}", map.payload));
            }
        }
        self.write_packet_times(&mut stream);
        write_qos(&mut stream, self.qos.as_ref());
        let own = if self.hold { Direction::SendOnly } else { Direction::SendRecv };
        stream.set_direction(own.answered_by(offered_direction(offer, offered)));
        stream
    }

    /// Takes the answer to our offer (RFC 3264 §7).
    ///
    /// # Errors
    ///
    /// [`MediaError`]; the session cannot go on with it.
    pub fn take_answer(&mut self, body: &[u8]) -> Result<(), MediaError> {
        let sdp = Sdp::parse(body)?;
        let ours = self.ours.as_ref().map_or(&[][..], |ours| &ours.media);
        if sdp.media.len() != ours.len() {
            return Err(MediaError::Streams { found: sdp.media.len() });
        }
        let mut pairs = ours.iter().zip(&sdp.media);
        let voice = pairs.clone().find(|(our, _)| is_voice(our));
        let Some((our, answered)) = voice.filter(|(_, answered)| answered.port() != 0) else {
            return Err(MediaError::NoVoice);
        };
        let video = pairs.any(|(our, answered)| {
            our.kind() == "video" && our.port() != 0 && answered.port() != 0
        });
        let known: Vec<&str> = our.formats().collect();
        let agreed: Vec<String> =
            answered.formats().filter(|it| known.contains(it)).map(str::to_owned).collect();
        if agreed.is_empty() || agreed.len() != answered.formats().count() {
            return Err(MediaError::NoCommonCodec);
        }
        match (&mut self.qos, read_qos(answered)) {
            (Some(qos), Some(said)) => qos.learn(&said),
            (qos, None) => *qos = None,
            (None, Some(_)) => {}
        }
        self.agreed_hold = self.hold;
        (self.video, self.agreed_video) = (video, video);
        self.narrow(&agreed);
        Ok(())
    }

    /// Whether the answer left more than one voice codec to choose from.
    #[must_use]
    pub fn has_choice(&self) -> bool {
        self.voices().len() > 1
    }

    /// Decides for the first of several voice codecs, and the tones of its clock rate; the next
    /// offer says so (TS 24.229 §6.1.2).
    pub fn choose(&mut self) {
        let voices = self.voices();
        let Some(first) = voices.first() else { return };
        let Some(stream) = self.ours.iter().flat_map(|ours| &ours.media).find(|it| is_voice(it))
        else {
            return;
        };
        let kept = stream.rtpmaps().filter(|map| {
            let tones = map.encoding.eq_ignore_ascii_case("telephone-event");
            map.payload == first.payload || (tones && map.clock_rate == first.clock_rate)
        });
        let kept: Vec<String> = kept.map(|map| map.payload.to_string()).collect();
        self.narrow(&kept);
    }

    /// The voice codecs of our last description.
    fn voices(&self) -> Vec<RtpMap> {
        let stream = self.ours.iter().flat_map(|ours| &ours.media).find(|it| is_voice(it));
        let Some(stream) = stream else { return Vec::new() };
        let maps: Vec<RtpMap> = stream.rtpmaps().collect();
        let formats = stream.formats().filter_map(|format| format.parse().ok());
        let maps = formats.filter_map(|payload| map_of(payload, &maps));
        maps.filter(|map| !map.encoding.eq_ignore_ascii_case("telephone-event")).collect()
    }

    /// The payload type and clock rate that tones have in this session (RFC 4733): those of the
    /// clock rate of the voice codec. `None` where no tones were agreed.
    #[must_use]
    pub fn tones(&self) -> Option<(u8, u32)> {
        let clock_rate = self.voices().first()?.clock_rate;
        let mut streams = self.ours.iter().flat_map(|ours| &ours.media);
        let stream = streams.find(|it| is_voice(it))?;
        let known: Vec<&str> = stream.formats().collect();
        let map = stream.rtpmaps().find(|map| {
            map.encoding.eq_ignore_ascii_case("telephone-event")
                && map.clock_rate == clock_rate
                && known.contains(&map.payload.to_string().as_str())
        })?;
        Some((map.payload, map.clock_rate))
    }

    /// Further offers hold only what was agreed.
    fn narrow(&mut self, agreed: &[String]) {
        let Some(ours) = &mut self.ours else { return };
        let agreed: Vec<&str> = agreed.iter().map(String::as_str).collect();
        if let Some(stream) = ours.media.iter_mut().find(|stream| is_voice(stream)) {
            self.narrowed |= stream.formats().ne(agreed.iter().copied());
            stream.set_formats(&agreed);
        }
        self.place_agreed_video();
    }

    /// A video stream that was declined stays in further offers with port 0 (RFC 3264 §8).
    fn place_agreed_video(&mut self) {
        let Some(mut ours) = self.ours.take() else { return };
        self.place_video(&mut ours);
        self.ours = Some(ours);
    }

    /// Puts the video stream in, or takes it out by its port, as wanted (RFC 3264 §8.1, §8.2).
    fn place_video(&self, sdp: &mut Sdp) {
        let Some(plan) = &self.plan.video else { return };
        let there = sdp.media.iter().position(|stream| stream.kind() == "video");
        match there.and_then(|at| sdp.media.get_mut(at)) {
            None if self.video => sdp.media.push(plan.offered_stream()),
            Some(stream) if self.video && stream.port() == 0 => *stream = plan.offered_stream(),
            Some(stream) if !self.video => stream.set_port(0),
            _ => {}
        }
    }

    /// Asks for video, or gives it up, with the next offer. Says whether there can be any.
    pub fn want_video(&mut self, on: bool) -> bool {
        let can = self.plan.video.is_some();
        self.video = on && can;
        can
    }

    /// Whether video was agreed.
    #[must_use]
    pub const fn has_video(&self) -> bool {
        self.agreed_video
    }

    /// Asks for hold, or takes it back, with the next offer.
    pub const fn hold(&mut self, on: bool) {
        self.hold = on;
    }

    /// The last offer was refused: what was agreed before holds.
    pub const fn revert(&mut self) {
        self.hold = self.agreed_hold;
        self.video = self.agreed_video;
    }

    /// Whether we hold the peer.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.hold
    }

    /// Whether the peer holds us.
    #[must_use]
    pub const fn is_held_by_peer(&self) -> bool {
        self.held_by_peer
    }

    /// Our resources are there.
    pub fn reserve(&mut self) {
        if let Some(qos) = &mut self.qos {
            qos.reserve();
        }
    }

    /// Whether both ends use preconditions.
    #[must_use]
    pub const fn uses_preconditions(&self) -> bool {
        self.qos.is_some()
    }

    /// Whether an offer of ours would use preconditions.
    #[must_use]
    pub const fn would_use_preconditions(&self) -> bool {
        self.reserved.is_some()
    }

    /// Whether our resources are there; true where nobody asks.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.qos.is_none_or(|qos| qos.is_reserved())
    }

    /// Whether everything mandatory is there.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.qos.is_none_or(|qos| qos.is_met())
    }

    /// Every stream refused and its preconditions failed, for a 580 (RFC 3312 §8).
    #[must_use]
    pub fn failure(&self) -> String {
        let mut sdp = self.ours.clone().unwrap_or_else(|| self.capable());
        let failed = self.qos.map(Preconditions::failed);
        for stream in &mut sdp.media {
            stream.set_port(0);
            write_qos(stream, failed.as_ref());
        }
        sdp.to_string()
    }

    /// What we can, for a 488 (RFC 3261 §21.4.26).
    #[must_use]
    pub fn capabilities(&self) -> String {
        let mut sdp = self.capable();
        sdp.media.extend(self.plan.video.as_ref().map(VideoPlan::offered_stream));
        sdp.to_string()
    }

    fn blank(&self) -> Sdp {
        let connection = Connection::new(self.plan.address);
        let origin = Origin {
            user: "-".to_owned(),
            session_id: self.plan.session_id.to_string(),
            version: 1,
            address_type: connection.address_type.clone(),
            address: connection.address.clone(),
        };
        let mut sdp = Sdp::new(&origin, "-", &connection);
        sdp.push('b', &format!("AS:{}", self.plan.bandwidth_as));
        sdp
    }

    /// A description with all our codecs.
    fn capable(&self) -> Sdp {
        let mut sdp = self.blank();
        let payloads = self.plan.codecs.iter().map(|codec| codec.payload.to_string());
        let payloads: Vec<String> = payloads.collect();
        let formats: Vec<&str> = payloads.iter().map(String::as_str).collect();
        let mut stream = Stream::new("audio", self.plan.port, "RTP/AVP", &formats);
        self.write_bandwidth(&mut stream);
        for codec in &self.plan.codecs {
            let Codec { payload, name, clock_rate, fmtp } = codec;
            stream.push_attribute("rtpmap", &format!("{payload} {name}/{clock_rate}"));
            if !fmtp.is_empty() {
                stream.push_attribute("fmtp", &format!("{payload} {fmtp}"));
            }
        }
        self.write_packet_times(&mut stream);
        stream.set_direction(Direction::SendRecv);
        sdp.media.push(stream);
        sdp
    }

    fn write_bandwidth(&self, stream: &mut Stream) {
        stream.push('b', &format!("AS:{}", self.plan.bandwidth_as));
        if let Some((senders, receivers)) = self.plan.bandwidth_rtcp {
            stream.push('b', &format!("RS:{senders}"));
            stream.push('b', &format!("RR:{receivers}"));
        }
    }

    fn write_packet_times(&self, stream: &mut Stream) {
        if let Some((time, longest)) = self.plan.packet_times {
            stream.push_attribute("ptime", &time.to_string());
            stream.push_attribute("maxptime", &longest.to_string());
        }
    }

    /// Gives a description its version: that of the last one if nothing changed, else the next.
    fn keep(&mut self, mut sdp: Sdp) -> String {
        if let Some(last) = &self.ours
            && let Some(origin) = last.origin()
        {
            sdp.set_origin(&origin);
            if sdp != *last || std::mem::take(&mut self.narrowed) {
                sdp.bump_version();
            }
        }
        self.narrowed = false;
        let text = sdp.to_string();
        self.ours = Some(sdp);
        text
    }

    /// The first voice stream with a codec of ours.
    fn usable_stream(&self, sdp: &Sdp) -> Result<usize, MediaError> {
        let mut voice = false;
        for (at, stream) in sdp.media.iter().enumerate() {
            let plain = matches!(stream.protocol(), "RTP/AVP" | "RTP/AVPF");
            if stream.kind() != "audio" || stream.port() == 0 || !plain {
                continue;
            }
            voice = true;
            if !self.common(stream, false).is_empty() {
                return Ok(at);
            }
        }
        Err(if voice { MediaError::NoCommonCodec } else { MediaError::NoVoice })
    }

    /// In the order of the offer: the first codec of ours, and the tones with its clock rate; or
    /// `all` that we know.
    fn common(&self, offered: &Stream, all: bool) -> Vec<(RtpMap, &Codec)> {
        let maps: Vec<RtpMap> = offered.rtpmaps().collect();
        let known: Vec<(RtpMap, &Codec)> = offered
            .formats()
            .filter_map(|format| format.parse::<u8>().ok())
            .filter_map(|payload| map_of(payload, &maps))
            .filter_map(|map| {
                let fmtp = offered.fmtp(&map.payload.to_string());
                self.codec_for(&map, fmtp).map(|codec| (map, codec))
            })
            .collect();
        let Some((voice, _)) = known.iter().find(|(_, codec)| !codec.is_tones()) else {
            return Vec::new();
        };
        let (payload, clock_rate) = (voice.payload, voice.clock_rate);
        known
            .into_iter()
            .filter(|(map, codec)| {
                all || map.payload == payload || (codec.is_tones() && map.clock_rate == clock_rate)
            })
            .collect()
    }

    fn codec_for(&self, map: &RtpMap, fmtp: Option<&str>) -> Option<&Codec> {
        let mono = map.parameters.as_deref().is_none_or(|channels| channels == "1");
        // Octet-aligned AMR is another format than the bandwidth-efficient one (RFC 4867 §8.3.1).
        let aligned = fmtp.is_some_and(|fmtp| has_parameter(fmtp, "octet-align=1"));
        self.plan.codecs.iter().find(|codec| {
            let same = codec.name.eq_ignore_ascii_case(&map.encoding);
            let alike = aligned == has_parameter(codec.fmtp, "octet-align=1");
            same && codec.clock_rate == map.clock_rate && mono && alike
        })
    }
}

#[cfg(test)]
#[path = "media_tests.rs"]
mod tests;
