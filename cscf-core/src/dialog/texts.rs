//! Texts that are kept together: one block of memory for all of them, as large as they are. A
//! dialog has a dozen, and a block for each would take as much again and leave holes.

/// A list of texts, each of which may be missing; read from the first on, changed by being written
/// anew.
///
/// In the block stands before each text its length and one, seven bits a byte, the last byte
/// without the eighth; of a missing text 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts(Box<[u8]>);

impl Texts {
    /// These texts.
    #[must_use]
    pub fn new(texts: &[Option<&str>]) -> Self {
        let size = |text: &Option<&str>| {
            let mark = text.map_or(0, |text| text.len() + 1);
            text.map_or(0, str::len) + mark.max(1).ilog2() as usize / 7 + 1
        };
        let mut bytes = Vec::with_capacity(texts.iter().map(size).sum());
        for text in texts {
            let mut mark = text.map_or(0, |text| text.len() + 1);
            while mark > 0x7f {
                bytes.push((mark & 0x7f) as u8 | 0x80);
                mark >>= 7;
            }
            bytes.push(mark as u8);
            bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
        }
        Self(bytes.into_boxed_slice())
    }

    /// The texts in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> + Clone {
        let text = |piece| std::str::from_utf8(piece).unwrap_or_default();
        Pieces(&self.0).map(move |piece| piece.map(text))
    }

    /// The text at this place, counted from 0; `None` too if there are not so many.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&str> {
        // What lies before it is passed over unread.
        std::str::from_utf8(Pieces(&self.0).nth(place)??).ok()
    }
}

/// What is left to read of a block.
#[derive(Clone)]
struct Pieces<'a>(&'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut mark, mut shift) = (0_usize, 0);
        loop {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            mark |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
        }
        let Some(len) = mark.checked_sub(1) else { return Some(None) };
        let (piece, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_went_in() {
        let (edge, long) = ("ä".repeat(63), "b".repeat(70_000));
        let all = [
            Some("call"),
            None,
            Some(""),
            Some(edge.as_str()),
            Some(&long[..127]),
            Some(&long[..16_382]),
            Some(&long[..16_383]),
            Some(long.as_str()),
            None,
            Some("end"),
        ];
        let texts = Texts::new(&all);
        assert_eq!(texts.iter().collect::<Vec<_>>(), all);
        for (place, text) in all.iter().enumerate() {
            assert_eq!(texts.get(place), *text, "{place}");
        }
        assert_eq!(texts.get(all.len()), None);
        let lengths: usize = all.iter().map(|text| text.map_or(0, str::len)).sum();
        assert_eq!(texts.0.len(), lengths + 6 + 2 * 2 + 2 * 3, "{lengths}");
        assert_eq!(Texts::default().iter().count(), 0);
    }
}
