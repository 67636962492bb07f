//! Runs of plain bytes, sixteen at a time.

use wide::u8x16;

/// How many of the first sixteen bytes are letters, digits, dots and hyphens before another one
/// comes, which is nearly all that names, addresses, tags and branches consist of; none if there
/// are fewer bytes.
#[inline]
pub(super) fn plain_run(text: &[u8]) -> Option<usize> {
    let (sixteen, _) = text.split_first_chunk::<16>()?;
    let bytes = u8x16::new(*sixteen);
    let within = |offsets: u8x16, most| offsets.min(u8x16::splat(most)).simd_eq(offsets);
    let letters = within((bytes | u8x16::splat(0x20)) - u8x16::splat(b'a'), b'z' - b'a');
    // The slash stands between hyphen and dot on one side and the digits on the other.
    let others = within(bytes - u8x16::splat(b'-'), b'9' - b'-');
    let slashes = bytes.simd_eq(u8x16::splat(b'/'));
    let plain = (letters | others).to_bitmask() & !slashes.to_bitmask();
    Some(plain.trailing_ones() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_bytes_are_letters_digits_dots_and_hyphens() {
        for byte in 0..=u8::MAX {
            let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
            for at in 0..16 {
                let mut text = *b"sip-1.ims.example";
                if let Some(place) = text.get_mut(at) {
                    *place = byte;
                }
                assert_eq!(plain_run(&text), Some(if plain { 16 } else { at }), "{byte} at {at}");
            }
        }
        assert_eq!(plain_run(b"fifteen-letters"), None);
    }
}
