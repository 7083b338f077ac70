//! What the page says, in whatever language.

use std::borrow::Cow;

use crate::request::head::RequestHead;

/// A text of the page with the forms that were not sent: what [`RescueForms::texts`](crate::RescueForms::texts) translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RescueText {
    /// The page's language, as in `lang`. Default: `en`.
    Language,
    /// The title of the page with a form.
    Title,
    /// What has happened.
    Explanation,
    /// Above the names of fields that were not kept.
    Secrets,
    /// Above the names of files, which are never kept.
    Files,
    /// That it was sent, and no answer is known.
    Unanswered,
    /// The button that sends it.
    Send,
    /// The link to the page it was on.
    Open,
    /// The button that throws it away.
    Discard,
    /// The link to the next form.
    Next,
    /// That there is no form.
    Nothing,
    /// The link that leads on.
    GoOn,
    /// The title of the page for a form that was not kept.
    LostTitle,
    /// What to do about that, where its fields are shown.
    CopyIt,
    /// What to do about that, where they are not.
    GoBack,
    /// Why: `{size}` is the longest that is kept, in KiB.
    TooLarge,
    /// Why: it is no form of Unicode text, or has too many fields.
    Unreadable,
    /// Why: there are as many of this user's as are kept.
    TooManyForms,
    /// Why: it could not be stored.
    Failed,
    /// Why: the session was not ended by a timeout, or it is not known whose it was.
    NotKept,
    /// The link to the log-in page.
    SignIn,
}

pub(crate) type Translate = Box<dyn Fn(&RequestHead<'_>, RescueText) -> Option<String> + Send + Sync>;

impl RescueText {
    pub(super) const ALL: [Self; 21] = [
        Self::Language,
        Self::Title,
        Self::Explanation,
        Self::Secrets,
        Self::Files,
        Self::Unanswered,
        Self::Send,
        Self::Open,
        Self::Discard,
        Self::Next,
        Self::Nothing,
        Self::GoOn,
        Self::LostTitle,
        Self::CopyIt,
        Self::GoBack,
        Self::TooLarge,
        Self::Unreadable,
        Self::TooManyForms,
        Self::Failed,
        Self::NotKept,
        Self::SignIn,
    ];

    /// In English.
    pub fn in_english(self) -> &'static str {
        match self {
            Self::Language => "en",
            Self::Title => "This was not sent",
            Self::Explanation => {
                "You had been signed out when you sent this form. It was kept for you: you can send it now, or copy what \
                 you need from it."
            }
            Self::Secrets => "Not kept, for your safety, and not sent with it:",
            Self::Files => "Files are not kept, and not sent with it:",
            Self::Unanswered => "You have sent it from here, and it is not known whether it was taken.",
            Self::Send => "Send it now",
            Self::Open => "Open the form again, empty",
            Self::Discard => "Discard it",
            Self::Next => "There is another one",
            Self::Nothing => "There is nothing that was not sent.",
            Self::GoOn => "Go on",
            Self::LostTitle => "You have been signed out, and this form was not sent",
            Self::CopyIt => "It could not be kept. Copy what you need from here before you sign in.",
            Self::GoBack => {
                "It could not be kept, and cannot be shown here. Before you sign in, try your browser's Back button: some \
                 browsers show the form as you filled it in."
            }
            Self::TooLarge => "It is larger than {size} KiB.",
            Self::Unreadable => "It could not be read.",
            Self::TooManyForms => "There are other forms of yours that were not sent. Sign in to see them.",
            Self::Failed => "Forms cannot be kept at the moment.",
            Self::NotKept => "Forms are kept only where a session was not used for too long.",
            Self::SignIn => "Sign in",
        }
    }
}

/// All texts, as one request's user reads them.
pub(crate) struct Texts([Cow<'static, str>; RescueText::ALL.len()]);

impl Texts {
    /// In English, where nobody translates.
    pub(crate) fn of(translation: Option<(&RequestHead<'_>, &Translate)>) -> Self {
        let translated = |text| translation.and_then(|(head, translate)| translate(head, text));
        Self(
            RescueText::ALL.map(|text| translated(text).map_or(Cow::Borrowed(text.in_english()), Cow::Owned)),
        )
    }

    pub(super) fn get(&self, text: RescueText) -> &str {
        let at = RescueText::ALL.iter().position(|it| *it == text).unwrap_or_default();
        &self.0[at]
    }
}
