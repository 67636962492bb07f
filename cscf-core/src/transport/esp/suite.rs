//! One ESP packet under one pair of algorithms (RFC 4303 §2, §3.3, §3.4): padding, encryption and
//! integrity check value by the key schedules of a set of associations. Sequence numbers, windows
//! and what is inside are others' business.

use aes::Aes128;
use aes::cipher::typenum::Unsigned as _;
use aes::cipher::{
    Array, Block, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt as _,
    BlockModeEncrypt as _, BlockSizeUser, InnerIvInit as _, KeyInit as _,
};
use aes_gcm::aead::AeadInOut as _;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes128Gcm, Nonce, Tag};
use des::TdesEde3;
use hmac::{Hmac, Mac as _};
use md5::Md5;
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

use super::super::ipsec::{Algorithms, Encryption, EspKeys, Integrity};

/// SPI and sequence number (RFC 4303 §2.1, §2.2).
pub(super) const HEADER_LEN: usize = 8;
/// The octets of an HMAC that go into a packet (RFC 2403, RFC 2404).
const HMAC_ICV_LEN: usize = 12;
/// The octets of the check value of AES-GCM and AES-GMAC (RFC 4106 §6, RFC 4543 §3.4).
const GCM_ICV_LEN: usize = 16;
/// The octets of the initialization vector of AES-GCM and AES-GMAC (RFC 4106 §3.1).
const GCM_IV_LEN: usize = 8;

/// SPI and sequence number of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) spi: u32,
    pub(super) sequence: u32,
}

impl Header {
    /// Reads them, and gives what follows.
    pub(super) fn parse(esp: &[u8]) -> Option<(Self, &[u8])> {
        let (spi, rest) = esp.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<4>()?;
        let (spi, sequence) = (u32::from_be_bytes(*spi), u32::from_be_bytes(*sequence));
        Some((Self { spi, sequence }, rest))
    }

    fn to_bytes(self) -> [u8; HEADER_LEN] {
        (u64::from(self.spi) << 32 | u64::from(self.sequence)).to_be_bytes()
    }
}

/// What a packet has beyond its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overhead {
    /// Header and initialization vector, before the payload.
    pub(super) prefix: usize,
    /// What is encrypted is a multiple of this.
    block: usize,
    /// The integrity check value, at the end.
    icv: usize,
}

impl Overhead {
    /// The length of a packet with so much inside.
    pub(super) const fn total(self, payload: usize) -> usize {
        self.prefix + (payload + 2).next_multiple_of(self.block) + self.icv
    }

    /// The most that fits into a packet of so many octets.
    pub(super) const fn payload_max(self, total: usize) -> usize {
        let body = total.saturating_sub(self.prefix + self.icv);
        (body - body % self.block).saturating_sub(2)
    }
}

/// What was inside a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// As many octets as were asked for, then the payload.
    pub(super) buffer: Vec<u8>,
    /// The protocol of the payload.
    pub(super) next_header: u8,
}

/// Why a packet cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is too short for its algorithms, or no whole number of blocks.
    Length,
    /// The integrity check value is wrong.
    Icv,
    /// It is genuine, but its padding is not what RFC 4303 §2.4 asks for.
    Padding,
}

#[derive(Clone)]
enum Mac {
    Md5(Hmac<Md5>),
    Sha1(Hmac<Sha1>),
}

impl Mac {
    fn of(&self, covered: &[u8]) -> [u8; HMAC_ICV_LEN] {
        fn first(digest: &[u8]) -> [u8; HMAC_ICV_LEN] {
            digest.first_chunk().copied().unwrap_or_default()
        }
        match self {
            Self::Md5(mac) => {
                let mut mac = mac.clone();
                mac.update(covered);
                first(&mac.finalize().into_bytes())
            }
            Self::Sha1(mac) => {
                let mut mac = mac.clone();
                mac.update(covered);
                first(&mac.finalize().into_bytes())
            }
        }
    }
}

enum Cipher {
    Null,
    Aes(Box<Aes128>),
    TripleDes(Box<TdesEde3>),
}

impl Cipher {
    fn block_len(&self) -> usize {
        match self {
            Self::Null => 4,
            Self::Aes(_) => <Aes128 as BlockSizeUser>::BlockSize::USIZE,
            Self::TripleDes(_) => <TdesEde3 as BlockSizeUser>::BlockSize::USIZE,
        }
    }

    fn iv_len(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Aes(_) | Self::TripleDes(_) => self.block_len(),
        }
    }

    fn encrypt(&self, iv: &[u8], body: &mut [u8]) -> Option<()> {
        match self {
            Self::Null => Some(()),
            Self::Aes(key) => encrypt_cbc(&**key, iv, body),
            Self::TripleDes(key) => encrypt_cbc(&**key, iv, body),
        }
    }

    fn decrypt(&self, iv: &[u8], body: &mut [u8]) -> Option<()> {
        match self {
            Self::Null => Some(()),
            Self::Aes(key) => decrypt_cbc(&**key, iv, body),
            Self::TripleDes(key) => decrypt_cbc(&**key, iv, body),
        }
    }
}

fn encrypt_cbc<C: BlockCipherEncrypt>(key: &C, iv: &[u8], body: &mut [u8]) -> Option<()> {
    let iv = <&Block<C>>::try_from(iv).ok()?;
    let (blocks, rest) = Array::slice_as_chunks_mut(body);
    cbc::Encryptor::inner_iv_init(key, iv).encrypt_blocks(blocks);
    rest.is_empty().then_some(())
}

fn decrypt_cbc<C: BlockCipherDecrypt>(key: &C, iv: &[u8], body: &mut [u8]) -> Option<()> {
    let iv = <&Block<C>>::try_from(iv).ok()?;
    let (blocks, rest) = Array::slice_as_chunks_mut(body);
    cbc::Decryptor::inner_iv_init(key, iv).decrypt_blocks(blocks);
    rest.is_empty().then_some(())
}

/// AES-GCM with the salt that stands before each vector (RFC 4106 §4).
struct Gcm {
    aead: Box<Aes128Gcm>,
    salt: [u8; 4],
}

impl Gcm {
    /// Of a key with its salt behind (RFC 4106 §8.1).
    fn new(key: &[u8]) -> Option<Self> {
        let (key, salt) = key.split_last_chunk::<4>()?;
        Some(Self { aead: Box::new(Aes128Gcm::new_from_slice(key).ok()?), salt: *salt })
    }

    fn nonce(&self, iv: &[u8]) -> Nonce<aes_gcm::aead::consts::U12> {
        let mut nonce = Nonce::default();
        for (to, from) in nonce.iter_mut().zip(self.salt.iter().chain(iv)) {
            *to = *from;
        }
        nonce
    }
}

/// A pair of algorithms with its keys.
enum Kind {
    /// A cipher, and an HMAC over what it gives.
    Mac { mac: Mac, cipher: Cipher },
    /// AES-GCM (RFC 4106).
    Gcm(Gcm),
    /// AES-GMAC over clear text (RFC 4543).
    Gmac(Gcm),
}

/// A pair of algorithms with its keys, made once for a set of associations.
pub(super) struct Suite {
    kind: Kind,
    algorithms: Algorithms,
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Suite({})", self.algorithms)
    }
}

impl Suite {
    /// The key schedules of a pair; none if the keys have not the length of their algorithms.
    pub(super) fn new(algorithms: Algorithms, keys: &EspKeys) -> Option<Self> {
        let cipher = || {
            Some(match algorithms.encryption() {
                Encryption::Null => Cipher::Null,
                Encryption::AesCbc => {
                    Cipher::Aes(Box::new(Aes128::new_from_slice(&keys.encryption).ok()?))
                }
                Encryption::DesEde3Cbc => {
                    Cipher::TripleDes(Box::new(TdesEde3::new_from_slice(&keys.encryption).ok()?))
                }
                Encryption::AesGcm => return None,
            })
        };
        let kind = match algorithms.integrity() {
            Integrity::HmacMd5 => {
                let mac = Mac::Md5(Hmac::new_from_slice(&keys.integrity).ok()?);
                Kind::Mac { mac, cipher: cipher()? }
            }
            Integrity::HmacSha1 => {
                let mac = Mac::Sha1(Hmac::new_from_slice(&keys.integrity).ok()?);
                Kind::Mac { mac, cipher: cipher()? }
            }
            Integrity::AesGmac => Kind::Gmac(Gcm::new(&keys.integrity)?),
            Integrity::Null => Kind::Gcm(Gcm::new(&keys.encryption)?),
        };
        Some(Self { kind, algorithms })
    }

    /// Whether a vector must be unpredictable (CBC), rather than only unique under its key.
    pub(super) const fn wants_random_iv(&self) -> bool {
        matches!(self.kind, Kind::Mac { .. })
    }

    fn iv_len(&self) -> usize {
        match &self.kind {
            Kind::Mac { cipher, .. } => cipher.iv_len(),
            Kind::Gcm(_) | Kind::Gmac(_) => GCM_IV_LEN,
        }
    }

    fn block_len(&self) -> usize {
        match &self.kind {
            Kind::Mac { cipher, .. } => cipher.block_len(),
            Kind::Gcm(_) | Kind::Gmac(_) => 4,
        }
    }

    const fn icv_len(&self) -> usize {
        match &self.kind {
            Kind::Mac { .. } => HMAC_ICV_LEN,
            Kind::Gcm(_) | Kind::Gmac(_) => GCM_ICV_LEN,
        }
    }

    /// What a packet has beyond its payload.
    pub(super) fn overhead(&self) -> Overhead {
        let prefix = HEADER_LEN + self.iv_len();
        Overhead { prefix, block: self.block_len(), icv: self.icv_len() }
    }

    /// Makes a packet out of room for [`Overhead::prefix`] and the payload behind it, in place:
    /// pads, encrypts, and adds the integrity check value. `iv` has at least as many octets as the
    /// algorithm wants. Nothing if the room is not there.
    pub(super) fn seal(
        &self,
        header: Header,
        iv: &[u8; 16],
        next_header: u8,
        mut packet: Vec<u8>,
    ) -> Option<Vec<u8>> {
        let iv = iv.get(..self.iv_len())?;
        let payload = packet.len().checked_sub(HEADER_LEN + iv.len())?;
        let padding = (payload + 2).next_multiple_of(self.block_len()) - payload - 2;
        packet.extend((1..=u8::MAX).take(padding));
        packet.extend([u8::try_from(padding).ok()?, next_header]);
        let (prefix, body) = packet.split_at_mut_checked(HEADER_LEN + iv.len())?;
        let (head, place) = prefix.split_first_chunk_mut::<HEADER_LEN>()?;
        *head = header.to_bytes();
        place.copy_from_slice(iv);
        match &self.kind {
            Kind::Mac { mac, cipher } => {
                cipher.encrypt(iv, body)?;
                let icv = mac.of(&packet);
                packet.extend_from_slice(&icv);
            }
            Kind::Gcm(gcm) => {
                let body = InOutBuf::from(body);
                let sealed = gcm.aead.encrypt_inout_detached(&gcm.nonce(iv), head, body);
                packet.extend_from_slice(&sealed.ok()?);
            }
            Kind::Gmac(gcm) => {
                let nothing = InOutBuf::from(&mut [][..]);
                let sealed = gcm.aead.encrypt_inout_detached(&gcm.nonce(iv), &packet, nothing);
                packet.extend_from_slice(&sealed.ok()?);
            }
        }
        Some(packet)
    }

    /// Opens a packet: checks its integrity, decrypts it, and takes its padding off. `room` octets
    /// are left free before the payload.
    pub(super) fn open(&self, esp: &[u8], room: usize) -> Result<Opened, Fault> {
        let (covered, icv) = esp
            .len()
            .checked_sub(self.icv_len())
            .map(|at| esp.split_at(at))
            .ok_or(Fault::Length)?;
        let (prefix, body) =
            covered.split_at_checked(HEADER_LEN + self.iv_len()).ok_or(Fault::Length)?;
        if body.is_empty() || !body.len().is_multiple_of(self.block_len()) {
            return Err(Fault::Length);
        }
        let (head, iv) = prefix.split_at_checked(HEADER_LEN).ok_or(Fault::Length)?;
        let mut buffer = Vec::with_capacity(room + body.len());
        buffer.resize(room, 0);
        match &self.kind {
            Kind::Mac { mac, cipher } => {
                if !bool::from(mac.of(covered).ct_eq(icv)) {
                    return Err(Fault::Icv);
                }
                buffer.extend_from_slice(body);
                let inside = buffer.get_mut(room..).ok_or(Fault::Length)?;
                cipher.decrypt(iv, inside).ok_or(Fault::Length)?;
            }
            Kind::Gcm(gcm) => {
                buffer.extend_from_slice(body);
                let inside = InOutBuf::from(buffer.get_mut(room..).ok_or(Fault::Length)?);
                let tag = Tag::try_from(icv).map_err(|_| Fault::Length)?;
                let opened = gcm.aead.decrypt_inout_detached(&gcm.nonce(iv), head, inside, &tag);
                opened.map_err(|_| Fault::Icv)?;
            }
            Kind::Gmac(gcm) => {
                let nothing = InOutBuf::from(&mut [][..]);
                let tag = Tag::try_from(icv).map_err(|_| Fault::Length)?;
                let whole = gcm.aead.decrypt_inout_detached(&gcm.nonce(iv), covered, nothing, &tag);
                whole.map_err(|_| Fault::Icv)?;
                buffer.extend_from_slice(body);
            }
        }
        unpad(buffer, room)
    }
}

/// Takes padding, its length and the next header off (RFC 4303 §2.4: padding counts from 1).
fn unpad(mut buffer: Vec<u8>, room: usize) -> Result<Opened, Fault> {
    let (next_header, padding) = match buffer.get(room..) {
        Some([.., padding, next_header]) => (*next_header, usize::from(*padding)),
        _ => return Err(Fault::Padding),
    };
    let end = buffer.len().saturating_sub(2);
    let start = end.checked_sub(padding).filter(|start| *start >= room).ok_or(Fault::Padding)?;
    let padding = buffer.get(start..end).unwrap_or_default();
    if !padding.iter().zip(1_u8..).all(|(octet, count)| *octet == count) {
        return Err(Fault::Padding);
    }
    buffer.truncate(start);
    Ok(Opened { buffer, next_header })
}

#[cfg(test)]
#[path = "suite_tests.rs"]
mod tests;
