//! Why an HSS refuses identities, for whoever has to correct them in the phone or in the lab.

use crate::hss::store::Store;
use crate::trace::Diagnosis;

impl Store {
    /// The cause when a pair of identities is not accepted: one of them is unknown, they do not
    /// belong together, or they are in order and something else is not allowed.
    pub(super) fn identity_cause(&self, impi: &str, impu: &str, text: &str) -> Diagnosis {
        let (user, public) = (self.find_impi(impi), self.find_impu(impu));
        let Some(subscription) = user else {
            let owner = public.and_then(|found| self.subscription(found)).and_then(|it| {
                it.provisioned.private_identities.first().map(|private| private.impi.clone())
            });
            return Diagnosis::new(impi, "the private identity is known to the HSS")
                .theirs(impi)
                .ours(match owner {
                    Some(owner) => format!("{owner} is the IMPI of {impu}"),
                    None => "no such IMPI".to_owned(),
                })
                .change("the IMPI (username of Authorization) in the phone, or add a subscriber");
        };
        if public.is_some_and(|found| {
            found.subscription == subscription
                && self.subscription(found).is_some_and(|it| it.associates(found.set, impi))
        }) {
            return Diagnosis::new(impi, "the subscription allows it")
                .theirs(impu)
                .ours(text)
                .change("the subscriber in the lab file");
        }
        let own = self.at(subscription).map(|it| {
            let sets = it.provisioned.implicit_sets.iter().enumerate();
            sets.filter(|(number, _)| it.associates(*number, impi))
                .flat_map(|(_, set)| set.identities().map(|one| one.identity.clone()))
                .collect::<Vec<_>>()
                .join(", ")
        });
        Diagnosis::new(impi, "IMPI and IMPU belong together")
            .theirs(format!("{impi} with {impu}"))
            .ours(format!("{impi} has {}", own.unwrap_or_default()))
            .change("the IMPU (To of REGISTER) or the IMPI in the phone, or `impus` in the lab")
    }
}
