//! The GSM 7 bit default alphabet with its extension (TS 23.038 §6.2.1), and septets packed into
//! octets (§6.1.2.1).

/// Leads into the extension table.
const ESCAPE: u8 = 0x1b;

/// The default alphabet in the order of its codes; the escape stands as U+001B.
const DEFAULT: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å', 'Δ', '_',
    'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', '\u{1b}', 'Æ', 'æ', 'ß', 'É', ' ', '!', '"', '#',
    '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/', '0', '1', '2', '3', '4', '5', '6',
    '7', '8', '9', ':', ';', '<', '=', '>', '?', '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I',
    'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö',
    'Ñ', 'Ü', '§', '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
];

/// The extension table (TS 23.038 §6.2.1.1).
const EXTENSION: [(u8, char); 10] = [
    (0x0a, '\u{c}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2f, '\\'),
    (0x3c, '['),
    (0x3d, '~'),
    (0x3e, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

/// The septets of a character, one or two; `None` for one that the alphabet has not.
pub(super) fn septets_of(char: char) -> Option<Vec<u8>> {
    let known = (0..).zip(DEFAULT).find(|(_, known)| *known == char && char != '\u{1b}');
    if let Some((code, _)) = known {
        return Some(vec![code]);
    }
    let extended = EXTENSION.iter().find(|(_, known)| *known == char);
    extended.map(|(code, _)| vec![ESCAPE, *code])
}

/// The septets of a text; `None` where the alphabet has not all of its characters.
pub(super) fn septets(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for char in text.chars() {
        out.extend(septets_of(char)?);
    }
    Some(out)
}

/// The text of septets. An escape before a code that the extension has not stands for the
/// character of the default alphabet, and one at the end for a space (TS 23.038 §6.2.1.1).
pub(super) fn text(septets: &[u8]) -> String {
    let mut out = String::new();
    let mut escaped = false;
    let default = |code: u8| DEFAULT.get(usize::from(code & 0x7f)).copied().unwrap_or(' ');
    for code in septets {
        if std::mem::take(&mut escaped) {
            let extended = EXTENSION.iter().find(|(known, _)| known == code);
            out.push(extended.map_or_else(|| default(*code), |(_, char)| *char));
        } else if *code == ESCAPE {
            escaped = true;
        } else {
            out.push(default(*code));
        }
    }
    if escaped {
        out.push(' ');
    }
    out.replace('\u{1b}', " ")
}

/// Packs septets behind so many bits of filling.
pub(super) fn pack(septets: &[u8], filling: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u32, filling);
    for septet in septets {
        bits |= u32::from(septet & 0x7f) << count;
        count += 7;
        while count >= 8 {
            out.push(low(bits));
            bits >>= 8;
            count -= 8;
        }
    }
    if count > 0 {
        out.push(low(bits));
    }
    out
}

/// So many septets behind so many bits of filling; fewer where the octets end.
pub(super) fn unpack(octets: &[u8], filling: u32, wanted: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut count, mut skip) = (0_u32, 0_u32, filling);
    for octet in octets {
        bits |= u32::from(*octet) << count;
        count += 8;
        if skip > 0 {
            let now = skip.min(count);
            bits >>= now;
            count -= now;
            skip -= now;
        }
        while count >= 7 && out.len() < wanted {
            out.push(low(bits) & 0x7f);
            bits >>= 7;
            count -= 7;
        }
        if out.len() >= wanted {
            break;
        }
    }
    out
}

/// The lowest octet.
const fn low(bits: u32) -> u8 {
    let [first, ..] = bits.to_le_bytes();
    first
}
