//! Who is let in nowhere any more, as the parts of a running node share it.
//!
//! One list for the endpoint, the control API and the layers above. Whoever must act when it grows waits for that with
//! [`Denials::changes`]; whoever is about to let somebody in looks at [`Denials::list`], and looks again where it could have
//! grown meanwhile.

use std::sync::Arc;

use covenant_identity::{DenyList, PeerIdentity, SignedDenial, Taken};
use tokio::sync::watch;

/// The deny-list of a running node.
#[derive(Debug)]
pub struct Denials(watch::Sender<Arc<DenyList>>);

impl Denials {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Arc::new(DenyList::new())))
    }

    /// The list as it is now.
    pub fn list(&self) -> Arc<DenyList> {
        Arc::clone(&self.0.borrow())
    }

    /// Tells whenever the list has grown.
    pub fn changes(&self) -> watch::Receiver<Arc<DenyList>> {
        self.0.subscribe()
    }

    /// Takes in what this node had written down before. Those were checked then.
    pub fn restore(&self, written: &DenyList) {
        for signed in written.iter() {
            // A list that is full already says so when somebody is denied.
            let _taken = self.take(signed.clone());
        }
    }

    /// Takes in a denial that was checked.
    pub(crate) fn take(&self, signed: SignedDenial) -> Taken {
        let mut taken = Taken::Known;
        self.0.send_if_modified(|list| {
            if list.is_news(&signed) {
                taken = Arc::make_mut(list).take(signed);
            }
            taken == Taken::New
        });
        taken
    }

    /// Whether the owner of a certificate is denied, or one of those (DER) that vouch for it.
    pub fn denies<C: AsRef<[u8]>>(&self, identity: &PeerIdentity, above: &[C]) -> bool {
        let list = self.list();
        list.denies(identity) || list.denies_authority(above)
    }
}
