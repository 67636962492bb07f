//! The video stream of a session (GSMA IR.94 §3.3): what is offered, and what is answered.

use super::media::Codec;
use crate::sip::{Media as Stream, RtpMap, Sdp};

/// What an end can in a video stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoPlan {
    /// The RTP port.
    pub port: u16,
    /// The codec.
    pub codec: Codec,
    /// `b=AS` in kbit/s.
    pub bandwidth_as: u32,
    /// Whether its calls begin with video; else video is only taken, or added later.
    pub offered: bool,
}

impl VideoPlan {
    /// The stream in an offer.
    #[must_use]
    pub fn offered_stream(&self) -> Stream {
        self.stream("RTP/AVP", self.codec.payload)
    }

    /// The first video stream of an offer that can be taken, with the payload type of the codec.
    #[must_use]
    pub fn usable_in(&self, offer: &Sdp) -> Option<(usize, &Self, u8)> {
        let fits = |map: &RtpMap| {
            map.encoding.eq_ignore_ascii_case(self.codec.name)
                && map.clock_rate == self.codec.clock_rate
        };
        let mut streams = offer.media.iter().enumerate();
        streams.find_map(|(at, stream)| {
            let plain = matches!(stream.protocol(), "RTP/AVP" | "RTP/AVPF");
            let open = stream.kind() == "video" && stream.port() != 0 && plain;
            let map = stream.rtpmaps().find(fits).filter(|_| open)?;
            Some((at, self, map.payload))
        })
    }

    /// The answer to an offered stream, under the offer's payload type (RFC 3264 §6.1).
    #[must_use]
    pub fn answered(&self, offered: &Stream, payload: u8) -> Stream {
        self.stream(offered.protocol(), payload)
    }

    fn stream(&self, protocol: &str, payload: u8) -> Stream {
        let mut stream = Stream::new("video", self.port, protocol, &[&payload.to_string()]);
        stream.push('b', &format!("AS:{}", self.bandwidth_as));
        let Codec { name, clock_rate, fmtp, .. } = &self.codec;
        stream.push_attribute("rtpmap", &format!("{payload} {name}/{clock_rate}"));
        if !fmtp.is_empty() {
            stream.push_attribute("fmtp", &format!("{payload} {fmtp}"));
        }
        stream
    }
}
