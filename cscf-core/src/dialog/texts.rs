//! Texts that are kept together: one block of memory for all of them, as large as they are. A
//! dialog has a dozen, and a block for each would take as much again and leave holes.

/// A list of texts, each of which may be missing; read from the first on, changed by being written
/// anew.
///
/// In the block stands before each text its length and one, six bits a character below 128, the
/// last without the seventh; of a missing text 0. So the block is text itself, and nothing need be
/// checked again when a piece of it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts(Box<str>);

/// Says that the length goes on.
const MORE: u8 = 0x40;

impl Texts {
    /// These texts.
    #[must_use]
    pub fn new(texts: &[Option<&str>]) -> Self {
        let size = |text: &Option<&str>| {
            let mark = text.map_or(0, |text| text.len() + 1);
            text.map_or(0, str::len) + mark.max(1).ilog2() as usize / 6 + 1
        };
        let mut block = String::with_capacity(texts.iter().map(size).sum());
        for text in texts {
            let mut mark = text.map_or(0, |text| text.len() + 1);
            while mark >= MORE.into() {
                block.push(char::from(mark as u8 & (MORE - 1) | MORE));
                mark >>= 6;
            }
            block.push(char::from(mark as u8));
            block.push_str(text.unwrap_or_default());
        }
        Self(block.into_boxed_str())
    }

    /// The texts in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> + Clone {
        Pieces(&self.0)
    }

    /// The text at this place, counted from 0; `None` too if there are not so many.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&str> {
        Pieces(&self.0).nth(place)?
    }
}

/// What is left to read of a block.
#[derive(Clone)]
struct Pieces<'a>(&'a str);

impl<'a> Iterator for Pieces<'a> {
    type Item = Option<&'a str>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut mark, mut marks) = (0_usize, 0);
        loop {
            let byte = *self.0.as_bytes().get(marks)?;
            mark |= usize::from(byte & (MORE - 1)) << (6 * marks);
            marks += 1;
            if byte & MORE == 0 {
                break;
            }
        }
        let end = marks + mark.saturating_sub(1);
        let piece = self.0.get(marks..end)?;
        self.0 = self.0.get(end..)?;
        Some((mark > 0).then_some(piece))
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
            Some(&long[..62]),
            Some(&long[..63]),
            Some(&long[..4_094]),
            Some(&long[..4_095]),
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
        assert_eq!(texts.0.len(), lengths + 6 + 3 * 2 + 2 * 3, "{lengths}");
        assert_eq!(Texts::default().iter().count(), 0);
    }
}
