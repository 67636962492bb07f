//! The user parts of the URIs this node mints: `<shard>-<kind><16 hex digits>`, so that a light
//! scan finds the shard and the role finds its record without a text lookup.

use cscf_core::ids::{Ids, ShardId, push_decimal, push_hex};

/// A UE and its flow; the user part of Path. At any multiple of four: it lies in many indexes.
#[repr(Rust, packed(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UeId(pub u64);

/// A dialog on one side of this node; the user part of Record-Route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialogId(pub u64);

/// A reg event subscription of our own; the user part of its Contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub u64);

/// What a user part of ours names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// From a Record-Route.
    Dialog(DialogId),
    /// From the Contact of our SUBSCRIBE.
    Subscription(SubscriptionId),
    /// From a Path.
    Ue(UeId),
}

impl Token {
    /// The user part.
    #[must_use]
    pub(crate) fn text(self, shard: ShardId) -> String {
        let (kind, number) = match self {
            Self::Dialog(DialogId(number)) => ('d', number),
            Self::Subscription(SubscriptionId(number)) => ('r', number),
            Self::Ue(UeId(number)) => ('u', number),
        };
        let mut out = String::with_capacity("255-".len() + 1 + 16);
        push_decimal(&mut out, shard.0.into());
        out.push('-');
        out.push(kind);
        push_hex(&mut out, &number.to_be_bytes());
        out
    }

    /// Reads a user part; `None` if it is none of ours.
    #[must_use]
    pub(crate) fn parse(user: &str) -> Option<Self> {
        let (_, behind) = ShardId::leading(user.as_bytes())?;
        let (kind, digits) = user.get(behind..)?.split_at_checked(1)?;
        if digits.len() != 16 {
            return None;
        }
        let number = digits.bytes().try_fold(0_u64, |number, byte| {
            Some(number << 4 | u64::from(char::from(byte).to_digit(16)?))
        })?;
        match kind {
            "d" => Some(Self::Dialog(DialogId(number))),
            "r" => Some(Self::Subscription(SubscriptionId(number))),
            "u" => Some(Self::Ue(UeId(number))),
            _ => None,
        }
    }
}

/// A number nobody can guess.
pub(crate) fn number(ids: &mut Ids) -> u64 {
    ids.below(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_anything_else_is_not_ours() {
        let token = Token::Dialog(DialogId(0xab));
        assert_eq!(token.text(ShardId(3)), "3-d00000000000000ab");
        assert_eq!(Token::parse(&token.text(ShardId(3))), Some(token));
        let padded = "0003-d00000000000000ab";
        for text in
            ["", "alice", "0-", "0-x00000000000000ab", "0-u+0000000000000ab", "0-ué", padded]
        {
            assert_eq!(Token::parse(text), None, "{text}");
        }
    }
}
