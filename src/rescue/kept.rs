//! A user's forms: one record, changed by compare and swap.

use std::time::Duration;

use crate::{
    rescue::{
        Rescue,
        form::{LateForm, Lost},
        user::User,
    },
    store::{
        answer::StoreError,
        backend::{Loaded, Swap, Swapped},
    },
};

/// Of one user's. A form that comes when there are as many is not kept.
pub(crate) const MOST_FORMS: usize = 4;
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// How often somebody else may have been first.
const ATTEMPTS: usize = 8;
/// After so long without an answer, a form may be sent again.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// What became of a form that its user sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is this request's to send.
    Granted,
    /// Another request sends it, or has.
    Denied,
}

/// A user's forms, and what time it is where they are kept.
#[derive(Default)]
pub(crate) struct Forms {
    pub(crate) all: Vec<LateForm>,
    pub(crate) now: Duration,
}

impl Rescue {
    pub(crate) async fn keep(&self, user: User, form: LateForm) -> Result<(), Lost> {
        let kept = self.change(user, |forms| {
            let is_room = forms.all.len() < MOST_FORMS;
            if is_room {
                forms.all.push(LateForm { came: forms.now, ..form.clone() });
            }
            is_room
        });
        match kept.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Lost::NoRoom),
            Err(error) if error.is_no_room() => Err(Lost::NoRoom),
            Err(_) => Err(Lost::StoreFailed),
        }
    }

    /// Nobody sends a form twice by pressing twice.
    pub(crate) async fn claim(&self, user: User, id: &str) -> Result<Claim, StoreError> {
        self.change(user, |forms| {
            let now = forms.now;
            let Some(form) = forms.all.iter_mut().find(|form| form.id == id) else { return Claim::Denied };
            if form.sent.is_some_and(|sent| now.saturating_sub(sent) < ANSWER_WITHIN) {
                return Claim::Denied;
            }
            form.sent = Some(now);
            Claim::Granted
        })
        .await
    }

    /// It was sent, and not taken.
    pub(crate) async fn give_back(&self, user: User, id: &str) -> Result<(), StoreError> {
        self.change(user, |forms| {
            forms.all.iter_mut().filter(|form| form.id == id).for_each(|form| form.sent = None);
        })
        .await
    }

    pub(crate) async fn discard(&self, user: User, id: &str) -> Result<(), StoreError> {
        self.change(user, |forms| forms.all.retain(|form| form.id != id)).await
    }

    /// The user has signed out.
    pub(crate) async fn discard_all(&self, user: User) -> Result<(), StoreError> {
        self.change(user, |forms| forms.all.clear()).await
    }

    pub(crate) async fn forms(&self, user: User) -> Result<Forms, StoreError> {
        let loaded = self.in_time(self.backend.load(self.secret.key(user))).await?;
        Ok(self.read(user, &loaded))
    }

    async fn change<T>(&self, user: User, mut change: impl FnMut(&mut Forms) -> T) -> Result<T, StoreError> {
        let key = self.secret.key(user);
        for _ in 0..ATTEMPTS {
            let loaded = self.in_time(self.backend.load(key)).await?;
            let mut forms = self.read(user, &loaded);
            let result = change(&mut forms);
            let record = (!forms.all.is_empty()).then(|| self.written(user, &forms.all));
            if record.is_none() && loaded.record.is_none() {
                return Ok(result);
            }
            let swap = Swap {
                key,
                expected: loaded.record,
                record,
                keep_for: KEPT_FOR,
                not_after: None,
                begins: true,
                ends: false,
            };
            match self.in_time(self.backend.swap(swap)).await? {
                Swapped::Done => return Ok(result),
                Swapped::Lost => {}
                Swapped::Full => return Err(StoreError::no_room()),
            }
        }
        Err(StoreError::new("others kept changing this user's forms"))
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let answer = tokio::time::timeout(self.deadline, answer).await;
        answer.unwrap_or_else(|_| Err(StoreError::new("no answer within the deadline")))
    }

    /// What cannot be read is nobody's any more: the secret has changed.
    fn read(&self, user: User, loaded: &Loaded) -> Forms {
        let opened = loaded.record.as_ref().and_then(|record| self.secret.open(user, record));
        let mut all: Vec<LateForm> =
            opened.and_then(|opened| serde_json::from_slice(&opened).ok()).unwrap_or_default();
        all.retain(|form| loaded.now.saturating_sub(form.came) < KEPT_FOR);
        Forms { all, now: loaded.now }
    }

    fn written(&self, user: User, forms: &[LateForm]) -> Vec<u8> {
        self.secret.seal(user, &serde_json::to_vec(forms).expect("forms are text"))
    }
}
