//! The HSS of the competitor: as small as one can be, so that it adds nothing to what is measured.
//! Every identity is known, all share one key; its state is a sequence number and an assignment.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use cscf_core::auth::{AMF_SEPARATION, AuthVector, IndBits, Milenage, Sqn, from_hex};
use cscf_core::diameter::{Avp, Header, Message, dictionary as avp};

use crate::system::{DOMAIN, K, OP};

const SCSCF: &str = "sip:127.0.0.13:5060";
const VENDOR: u32 = 10_415;
const CX: u32 = 16_777_216;
const SUCCESS: u32 = 2_001;

#[derive(Default)]
struct Subscriber {
    sqn: u64,
    assigned: bool,
    registered: bool,
}

struct Hss {
    address: SocketAddr,
    card: Milenage,
    subscribers: Mutex<BTreeMap<String, Subscriber>>,
}

/// Serves until it is ended.
pub(crate) fn serve(address: &str) -> Result<(), String> {
    let address: SocketAddr = address.parse().map_err(|_| "hss ADDRESS:PORT".to_owned())?;
    let listener = TcpListener::bind(address).map_err(|fault| format!("{address}: {fault}"))?;
    let key = |text| from_hex::<16>(text).ok_or("a key of 32 digits");
    let card = Milenage::with_op(key(K)?, key(OP)?);
    let hss = Arc::new(Hss { address, card, subscribers: Mutex::default() });
    for stream in listener.incoming().flatten() {
        let hss = hss.clone();
        thread::spawn(move || hss.connection(stream));
    }
    Ok(())
}

impl Hss {
    fn connection(&self, mut stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let (mut waiting, mut out) = (Vec::new(), Vec::new());
        let mut chunk = vec![0; 65_536];
        loop {
            let length = stream.read(&mut chunk).ok().filter(|length| *length > 0)?;
            waiting.extend_from_slice(chunk.get(..length)?);
            while let Some(length) = length_of(&waiting).filter(|it| *it <= waiting.len()) {
                let request = Bytes::from(waiting.drain(..length).collect::<Vec<u8>>());
                let request = Message::decode(&request).ok()?;
                if request.header.flags.request {
                    out.extend_from_slice(&self.answer(&request).encode());
                }
            }
            stream.write_all(&out).ok()?;
            out.clear();
        }
    }

    fn answer(&self, request: &Message) -> Message {
        let mut avps: Vec<Avp> = request.find(&avp::SESSION_ID).cloned().into_iter().collect();
        avps.push(Avp::text(&avp::ORIGIN_HOST, &self.address.ip().to_string()));
        avps.push(Avp::text(&avp::ORIGIN_REALM, DOMAIN));
        let Header { command, .. } = request.header;
        if command >= 300 {
            avps.push(application());
            avps.push(Avp::number(&avp::AUTH_SESSION_STATE, 1));
            self.cx(request, &mut avps);
        } else {
            avps.push(Avp::number(&avp::RESULT_CODE, SUCCESS));
            if command == 257 {
                avps.push(Avp::address(&avp::HOST_IP_ADDRESS, self.address.ip()));
                avps.push(Avp::number(&avp::VENDOR_ID, VENDOR));
                avps.push(Avp::text(&avp::PRODUCT_NAME, "small"));
                avps.push(Avp::number(&avp::SUPPORTED_VENDOR_ID, VENDOR));
                avps.push(Avp::number(&avp::AUTH_APPLICATION_ID, CX));
                avps.push(application());
            }
        }
        Message { header: request.header.answer(), avps }
    }

    fn cx(&self, request: &Message, avps: &mut Vec<Avp>) {
        let impu = request.text(&avp::PUBLIC_IDENTITY).unwrap_or_default();
        let of_impu = impu.split_once(':').map_or(impu, |(_, rest)| rest);
        let impi = request.text(&avp::USER_NAME).unwrap_or(of_impu);
        let mut all = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        let subscriber = all.entry(impi.to_owned()).or_default();
        let server = Avp::text(&avp::SERVER_NAME, SCSCF);
        match request.header.command {
            300 => {
                avps.push(experimental(if subscriber.registered { 2_002 } else { 2_001 }));
                avps.push(if subscriber.assigned {
                    server
                } else {
                    Avp::group(&avp::SERVER_CAPABILITIES, &[server])
                });
            }
            303 => {
                subscriber.assigned = true;
                subscriber.sqn += 1;
                avps.extend([Avp::text(&avp::USER_NAME, impi)]);
                avps.push(Avp::text(&avp::PUBLIC_IDENTITY, impu));
                avps.push(Avp::number(&avp::SIP_NUMBER_AUTH_ITEMS, 1));
                avps.push(self.vector(subscriber.sqn, impi));
                avps.push(Avp::number(&avp::RESULT_CODE, SUCCESS));
            }
            301 => {
                let kind = request.number(&avp::SERVER_ASSIGNMENT_TYPE).unwrap_or(1);
                subscriber.registered = matches!(kind, 1 | 2);
                avps.push(Avp::text(&avp::USER_NAME, impi));
                if kind <= 3 {
                    avps.push(Avp::octets(&avp::USER_DATA, profile(impi, impu).into_bytes()));
                }
                avps.push(Avp::number(&avp::RESULT_CODE, SUCCESS));
            }
            302 if subscriber.assigned => {
                avps.push(server);
                avps.push(Avp::number(&avp::RESULT_CODE, SUCCESS));
            }
            302 => avps.push(experimental(5_003)),
            _ => avps.push(Avp::number(&avp::RESULT_CODE, 3_001)),
        }
    }

    /// An authentication vector; its RAND is as good as its number for a load.
    fn vector(&self, sqn: u64, impi: &str) -> Avp {
        let mut rand = [0x5a_u8; 16];
        for (place, byte) in impi.bytes().chain(sqn.to_be_bytes()).enumerate() {
            if let Some(at) = rand.get_mut(place % 16) {
                *at = at.rotate_left(3) ^ byte;
            }
        }
        let sqn = Sqn::from_parts(sqn, 0, IndBits::default()).unwrap_or_default();
        let vector = AuthVector::generate(&self.card, rand, sqn, AMF_SEPARATION);
        let challenge = [&vector.rand[..], &vector.autn.to_bytes()[..]].concat();
        let scheme = "Digest-AKAv1-MD5";
        Avp::group(
            &avp::SIP_AUTH_DATA_ITEM,
            &[
                Avp::number(&avp::SIP_ITEM_NUMBER, 1),
                Avp::text(&avp::SIP_AUTHENTICATION_SCHEME, scheme),
                Avp::octets(&avp::SIP_AUTHENTICATE, challenge),
                Avp::octets(&avp::SIP_AUTHORIZATION, vector.xres.as_bytes().to_vec()),
                Avp::octets(&avp::CONFIDENTIALITY_KEY, vector.ck.to_vec()),
                Avp::octets(&avp::INTEGRITY_KEY, vector.ik.to_vec()),
            ],
        )
    }
}

fn length_of(bytes: &[u8]) -> Option<usize> {
    let &[_, a, b, c, ..] = bytes else { return None };
    Some((u32::from_be_bytes([0, a, b, c]) as usize).max(20))
}

fn application() -> Avp {
    let inside = [Avp::number(&avp::VENDOR_ID, VENDOR), Avp::number(&avp::AUTH_APPLICATION_ID, CX)];
    Avp::group(&avp::VENDOR_SPECIFIC_APPLICATION_ID, &inside)
}

fn experimental(code: u32) -> Avp {
    let code = Avp::number(&avp::EXPERIMENTAL_RESULT_CODE, code);
    Avp::group(&avp::EXPERIMENTAL_RESULT, &[Avp::number(&avp::VENDOR_ID, VENDOR), code])
}

fn profile(impi: &str, impu: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><IMSSubscription><PrivateID>{impi}</PrivateID>\
         <ServiceProfile><PublicIdentity><Identity>{impu}</Identity><Extension>\
         <IdentityType>0</IdentityType></Extension></PublicIdentity></ServiceProfile>\
         </IMSSubscription>"
    )
}
