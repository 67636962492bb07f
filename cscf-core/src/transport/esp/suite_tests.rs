//! Packets under each pair of algorithms, and the vectors of the standards.

use super::*;
use crate::auth::{from_hex, to_hex};

pub(in super::super) const PAIRS: [(&str, &str); 8] = [
    ("hmac-md5-96", "null"),
    ("hmac-md5-96", "aes-cbc"),
    ("hmac-md5-96", "des-ede3-cbc"),
    ("hmac-sha-1-96", "null"),
    ("hmac-sha-1-96", "aes-cbc"),
    ("hmac-sha-1-96", "des-ede3-cbc"),
    ("aes-gmac", "null"),
    ("null", "aes-gcm"),
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |it: u8| u8::try_from(char::from(it).to_digit(16).expect("a digit")).expect("one");
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn suite(alg: &str, ealg: &str) -> Suite {
    let algorithms = Algorithms::named(alg, ealg).expect("go together");
    let ck = from_hex("000102030405060708090a0b0c0d0e0f").expect("hex");
    let ik = from_hex("f769bcd751044604127672711c6d3441").expect("hex");
    Suite::new(algorithms, &EspKeys::expand(algorithms, &ck, &ik)).expect("keys fit")
}

fn sealed(suite: &Suite, payload: &[u8]) -> Vec<u8> {
    let overhead = suite.overhead();
    let mut packet = vec![0; overhead.prefix];
    packet.extend_from_slice(payload);
    let header = Header { spi: 0x1001, sequence: 7 };
    let packet = suite.seal(header, &[0x5a; 16], 17, packet).expect("there is room");
    assert_eq!(packet.len(), overhead.total(payload.len()));
    packet
}

#[test]
fn what_is_sealed_opens_to_the_same() {
    for (alg, ealg) in PAIRS {
        let suite = suite(alg, ealg);
        for length in (0..70).chain([1_000, 60_000]) {
            let payload = vec![0xab; length];
            let packet = sealed(&suite, &payload);
            let (header, _) = Header::parse(&packet).expect("a header");
            assert_eq!(header, Header { spi: 0x1001, sequence: 7 });
            let opened = suite.open(&packet, 40).expect("genuine");
            assert_eq!((&opened.buffer[40..], opened.next_header), (&payload[..], 17));
            let fits = suite.overhead().payload_max(packet.len());
            assert_eq!(suite.overhead().total(fits), packet.len(), "{alg}/{ealg} {length}");
            assert!(suite.overhead().total(fits + 1) > packet.len());
        }
    }
}

#[test]
fn clear_text_shows_only_without_encryption() {
    for (alg, ealg) in PAIRS {
        let packet = sealed(&suite(alg, ealg), b"REGISTER sip:ims.example SIP/2.0");
        let shows = packet.windows(8).any(|octets| octets == b"REGISTER");
        assert_eq!(shows, ealg == "null", "{alg}/{ealg}");
    }
}

/// Whatever was cut off or flipped, nothing comes out.
#[test]
fn no_packet_that_was_tampered_with_opens() {
    for (alg, ealg) in PAIRS {
        let suite = suite(alg, ealg);
        let packet = sealed(&suite, b"REGISTER sip:ims.example SIP/2.0\r\n\r\n");
        for length in 0..packet.len() {
            let fault = suite.open(&packet[..length], 0).expect_err("cut");
            assert!(matches!(fault, Fault::Length | Fault::Icv), "{alg}/{ealg} {length}");
        }
        for bit in 0..packet.len() * 8 {
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(suite.open(&flipped, 0), Err(Fault::Icv), "{alg}/{ealg} bit {bit}");
        }
        let longer = [&packet[..], &[0; 16]].concat();
        assert_eq!(suite.open(&longer, 0), Err(Fault::Icv));
    }
}

#[test]
fn padding_counts_from_one_and_is_not_longer_than_the_packet() {
    for (inside, expected) in [
        (&[0xab, 1, 2, 2, 17][..], Ok((1, 17))),
        (&[0xab, 1, 3, 2, 17], Err(Fault::Padding)),
        (&[0xab, 0, 0, 2, 17], Err(Fault::Padding)),
        (&[1, 2, 3, 3, 17], Ok((0, 17))),
        (&[1, 2, 3, 4, 17], Err(Fault::Padding)),
        (&[255, 17], Err(Fault::Padding)),
        (&[0, 17], Ok((0, 17))),
        (&[17], Err(Fault::Padding)),
        (&[], Err(Fault::Padding)),
    ] {
        let buffer = [&[9; 20][..], inside].concat();
        let opened = unpad(buffer, 20).map(|it| (it.buffer.len() - 20, it.next_header));
        assert_eq!(opened, expected, "{inside:?}");
    }
}

/// Test cases of RFC 2202 §2 and §3, the first 96 bits.
#[test]
fn the_integrity_algorithms_agree_with_their_vectors() {
    let md5 = Mac::Md5(Hmac::new_from_slice(&[0x0b; 16]).expect("a key"));
    assert_eq!(to_hex(&md5.of(b"Hi There")), "9294727a3638bb1c13f48ef8");
    let sha1 = Mac::Sha1(Hmac::new_from_slice(&[0x0b; 20]).expect("a key"));
    assert_eq!(to_hex(&sha1.of(b"Hi There")), "b617318655057264e28bc0b6");
    let sha1 = Mac::Sha1(Hmac::new_from_slice(&[0xaa; 20]).expect("a key"));
    assert_eq!(to_hex(&sha1.of(&[0xdd; 50])), "125d7342b9ac11cd91a39af4");
}

/// Case 5 of RFC 3602 §4: a ping as ESP in transport mode, AES-CBC, no integrity.
#[test]
fn aes_cbc_agrees_with_the_packet_of_its_rfc() {
    let key = bytes("90d382b4 10eeba7a d938c46c ec1a82bf");
    let iv = bytes("e96e8c08 ab465763 fd098d45 dd3ff893");
    let inside = "08000ebd a70a0000 8e9c083d b95b0700 08090a0b 0c0d0e0f 10111213 14151617 \
                  18191a1b 1c1d1e1f 20212223 24252627 28292a2b 2c2d2e2f 30313233 34353637";
    let mut body = bytes(&format!("{inside} 01020304 05060708 090a0b0c 0d0e 0e01"));
    let cipher = Cipher::Aes(Box::new(Aes128::new_from_slice(&key).expect("a key")));
    cipher.encrypt(&iv, &mut body).expect("whole blocks");
    assert_eq!(
        to_hex(&body),
        "f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856\
         a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a\
         a269add047ad2d5913ac19b7cfbad4a6"
    );
    cipher.decrypt(&iv, &mut body).expect("whole blocks");
    let opened = unpad(body, 0).expect("padded well");
    assert_eq!((opened.buffer, opened.next_header), (bytes(inside), 1));
}

/// Test case 4 of `McGrew` and Viega, "The Galois/Counter Mode of Operation", with its vector split
/// into the salt and what a packet carries (RFC 4106 §4).
#[test]
fn aes_gcm_agrees_with_its_vectors() {
    let gcm = Gcm::new(&bytes("feffe9928665731c6d6a8f9467308308 cafebabe")).expect("a key");
    let mut body = bytes(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    let nonce = gcm.nonce(&bytes("facedbaddecaf888"));
    let aad = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let tag = gcm.aead.encrypt_inout_detached(&nonce, &aad, InOutBuf::from(&mut body[..]));
    assert_eq!(to_hex(&tag.expect("short")), "5bc94fbc3221a5db94fae95ae7121a47");
    assert!(to_hex(&body).starts_with("42831ec2217774244b7221b784d0d49c"));
}

#[test]
fn keys_of_another_length_make_no_suite() {
    for (alg, ealg) in PAIRS {
        let algorithms = Algorithms::named(alg, ealg).expect("go together");
        let mut keys = EspKeys::expand(algorithms, &[1; 16], &[2; 16]);
        keys.encryption.pop();
        let integrity_only = ealg == "null";
        assert_eq!(Suite::new(algorithms, &keys).is_some(), integrity_only, "{alg}/{ealg}");
        let none = EspKeys { integrity: vec![1; 3], encryption: vec![1; 3] };
        if ealg != "null" || alg == "aes-gmac" {
            assert!(Suite::new(algorithms, &none).is_none(), "{alg}/{ealg}");
        }
    }
}
