//! Why an HSS refuses identities, for whoever has to correct them in the phone or in the lab.

use crate::cx::Uar;
use crate::hss::store::Store;
use crate::trace::Diagnosis;

impl Store {
    /// The cause when a pair of identities is not accepted: one of them is unknown, they do not
    /// belong together, or they are in order and something else is not allowed.
    pub(super) fn identity_cause(&self, impi: &str, impu: &str, text: &str) -> Diagnosis {
        let diagnosis = self.mismatch(impi, impu);
        diagnosis.unwrap_or_else(|| {
            Diagnosis::new(impi, "the subscription allows it")
                .theirs(impu)
                .ours(text)
                .change("the subscriber in the lab file")
        })
    }

    /// The cause when a UAR is refused (TS 29.228 §6.1.1.1).
    pub(super) fn uar_cause(&self, uar: &Uar, text: &str) -> Diagnosis {
        let Uar { impi, impu, visited_network, .. } = uar;
        if let Some(diagnosis) = self.mismatch(impi, impu) {
            return diagnosis;
        }
        let found = self.find_impu(impu);
        let subscription = found.and_then(|found| self.subscription(found));
        let Some(subscription) = subscription else {
            return self.identity_cause(impi, impu, text);
        };
        let subscriber = &subscription.provisioned;
        let set = found.and_then(|found| subscriber.implicit_sets.get(found.set));
        if set.is_some_and(|set| set.identities().all(|identity| identity.barred)) {
            return Diagnosis::new(
                impi,
                "an identity of the implicit registration set is not barred",
            )
            .theirs(impu)
            .ours("all identities of the set are barred")
            .change("`impus` of the subscriber in the lab file: one that is not `barred`");
        }
        let allowed = &subscriber.visited_networks;
        let visits = |it: &String| it.eq_ignore_ascii_case(visited_network);
        if !allowed.is_empty() && !allowed.iter().any(visits) {
            return Diagnosis::new(impi, "the user may roam in the visited network")
                .theirs(visited_network)
                .ours(format!("only {}", allowed.join(", ")))
                .change("`visited_networks` of the subscriber, or the network of the P-CSCF");
        }
        if subscriber.barred {
            return Diagnosis::new(impi, "the user may use IMS")
                .theirs(impu)
                .ours("the subscriber is barred")
                .change("`barred` of the subscriber in the lab file");
        }
        self.identity_cause(impi, impu, text)
    }

    /// The cause when the two identities are unknown or do not belong together.
    fn mismatch(&self, impi: &str, impu: &str) -> Option<Diagnosis> {
        let (user, public) = (self.find_impi(impi), self.find_impu(impu));
        let Some(subscription) = user else {
            let owner = public.and_then(|found| self.subscription(found)).and_then(|it| {
                it.provisioned.private_identities.first().map(|private| private.impi.clone())
            });
            let diagnosis = Diagnosis::new(impi, "the private identity is known to the HSS")
                .theirs(impi)
                .ours(match owner {
                    Some(owner) => format!("{owner} is the IMPI of {impu}"),
                    None => "no such IMPI".to_owned(),
                })
                .change("the IMPI (username of Authorization) in the phone, or add a subscriber");
            return Some(diagnosis);
        };
        if public.is_some_and(|found| {
            found.subscription == subscription
                && self.subscription(found).is_some_and(|it| it.associates(found.set, impi))
        }) {
            return None;
        }
        let own = self.at(subscription).map(|it| {
            let sets = it.provisioned.implicit_sets.iter().enumerate();
            sets.filter(|(number, _)| it.associates(*number, impi))
                .flat_map(|(_, set)| set.identities().map(|one| one.identity.clone()))
                .collect::<Vec<_>>()
                .join(", ")
        });
        let diagnosis = Diagnosis::new(impi, "IMPI and IMPU belong together")
            .theirs(format!("{impi} with {impu}"))
            .ours(format!("{impi} has {}", own.unwrap_or_default()))
            .change("the IMPU (To of REGISTER) or the IMPI in the phone, or `impus` in the lab");
        Some(diagnosis)
    }
}
