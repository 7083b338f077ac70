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
/// Of a form that is written down, beside its fields.
const OVERHEAD: usize = 16 << 10;
/// How many are known to have been taken, so that none is sent twice.
const MOST_TAKEN: usize = 64;
/// How often somebody else may have been first.
const ATTEMPTS: usize = 8;
/// After so long without an answer, a form may be sent again.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// What becomes of a form that its user sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is this request's to send. It may be gone: its page was open when it went.
    Granted,
    /// Another request sends it, or the application has taken it, or it is another user's.
    Denied,
}

/// A user's forms, and what time it is where they are kept.
#[derive(Default)]
pub(crate) struct Forms {
    pub(crate) all: Vec<LateForm>,
    /// The ids of those that the application has taken lately.
    taken: Vec<(String, Duration)>,
    pub(crate) now: Duration,
}

impl Forms {
    fn note_taken(&mut self, id: &str) {
        self.taken.retain(|(taken, _)| taken != id);
        self.taken.push((id.to_owned(), self.now));
        let too_many = self.taken.len().saturating_sub(MOST_TAKEN);
        self.taken.drain(..too_many);
    }
}

/// Whether there has to be room for it: nothing else is refused for want of that.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    Yes,
    No,
}

impl Rescue {
    /// `unsent`: it was kept before under this id, and its user has sent it from its page.
    pub(crate) async fn keep(&self, user: User, form: &LateForm, unsent: Option<&str>) -> Result<(), Lost> {
        // What is escaped takes up to six times its room.
        if serde_json::to_vec(form).map_or(0, |written| written.len()) > 2 * self.limit + OVERHEAD {
            return Err(Lost::TooLarge);
        }
        let id = self.new_id(user);
        let kept = self.change(user, Begins::Yes, |forms| {
            let form = LateForm { id: id.clone(), came: forms.now, ..form.clone() };
            let token = self.csrf.as_ref().map(|(field, _)| field.as_str());
            // Sent again by a user who did not believe it.
            let alike =
                |other: &&mut LateForm| Some(other.id.as_str()) == unsent || other.is_alike(&form, token);
            if let Some(alike) = forms.all.iter_mut().find(alike) {
                alike.came = forms.now;
                return true;
            }
            let is_room = forms.all.len() < MOST_FORMS;
            if is_room {
                forms.all.push(form);
            }
            is_room
        });
        match kept.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Lost::TooManyForms),
            Err(error) if error.is_no_room() => Err(Lost::NoRoom),
            Err(_) => Err(Lost::StoreFailed),
        }
    }

    /// Nobody sends a form twice by pressing twice, nor another's.
    pub(crate) async fn claim(&self, user: User, id: &str) -> Result<Claim, StoreError> {
        if !self.is_id_of(user, id) {
            return Ok(Claim::Denied);
        }
        self.change(user, Begins::No, |forms| {
            let now = forms.now;
            if forms.taken.iter().any(|(taken, _)| taken == id) {
                return Claim::Denied;
            }
            let Some(form) = forms.all.iter_mut().find(|form| form.id == id) else {
                forms.note_taken(id);
                return Claim::Granted;
            };
            if form.sent.is_some_and(|sent| now.saturating_sub(sent) < ANSWER_WITHIN) {
                return Claim::Denied;
            }
            form.sent = Some(now);
            Claim::Granted
        })
        .await
    }

    /// The application has it.
    pub(crate) async fn take(&self, user: User, id: &str) -> Result<(), StoreError> {
        self.change(user, Begins::No, |forms| {
            forms.all.retain(|form| form.id != id);
            forms.note_taken(id);
        })
        .await
    }

    /// It was sent, and not taken.
    pub(crate) async fn give_back(&self, user: User, id: &str) -> Result<(), StoreError> {
        self.change(user, Begins::No, |forms| {
            forms.taken.retain(|(taken, _)| taken != id);
            forms.all.iter_mut().filter(|form| form.id == id).for_each(|form| form.sent = None);
        })
        .await
    }

    pub(crate) async fn discard(&self, user: User, id: &str) -> Result<(), StoreError> {
        self.change(user, Begins::No, |forms| forms.all.retain(|form| form.id != id)).await
    }

    /// The user has signed out.
    pub(crate) async fn discard_all(&self, user: User) -> Result<(), StoreError> {
        self.change(user, Begins::No, |forms| forms.all.clear()).await
    }

    pub(crate) async fn forms(&self, user: User) -> Result<Forms, StoreError> {
        let loaded = self.in_time(self.backend.load(self.key(user))).await?;
        Ok(self.read(user, &loaded))
    }

    async fn change<T>(
        &self,
        user: User,
        begins: Begins,
        change: impl FnMut(&mut Forms) -> T,
    ) -> Result<T, StoreError> {
        self.in_time(self.changed(user, begins, change)).await
    }

    async fn changed<T>(
        &self,
        user: User,
        begins: Begins,
        mut change: impl FnMut(&mut Forms) -> T,
    ) -> Result<T, StoreError> {
        let key = self.key(user);
        for _ in 0..ATTEMPTS {
            let loaded = self.backend.load(key).await?;
            let mut forms = self.read(user, &loaded);
            let result = change(&mut forms);
            let is_empty = forms.all.is_empty() && forms.taken.is_empty();
            let record = (!is_empty).then(|| self.written(user, &forms));
            if record.is_none() && loaded.record.is_none() {
                return Ok(result);
            }
            let swap = Swap {
                key,
                expected: loaded.record,
                record,
                keep_for: KEPT_FOR,
                not_after: None,
                begins: begins == Begins::Yes,
                ends: false,
            };
            match self.backend.swap(swap).await? {
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
        let opened = loaded.record.as_ref().and_then(|record| self.open(user, record));
        let (mut all, mut taken): (Vec<LateForm>, Vec<(String, Duration)>) =
            opened.and_then(|opened| serde_json::from_slice(&opened).ok()).unwrap_or_default();
        let is_kept = |since| loaded.now.saturating_sub(since) < KEPT_FOR;
        all.retain(|form| is_kept(form.came));
        taken.retain(|(_, at)| is_kept(*at));
        Forms { all, taken, now: loaded.now }
    }

    fn written(&self, user: User, forms: &Forms) -> Vec<u8> {
        self.seal(user, &serde_json::to_vec(&(&forms.all, &forms.taken)).expect("forms are text"))
    }
}
