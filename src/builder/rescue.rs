//! Forms that come too late.

use std::{fmt, sync::Arc, time::Duration};

use super::{ConfigError, SessionTimeoutBuilder};
use crate::{
    client::Client,
    cookie::CompanionCookies,
    middleware::rescue::FormRescueLayer,
    request::head::RequestHead,
    rescue::{
        FreshToken, Rescue,
        form::Secrets,
        memory::MemoryForms,
        text::{RescueText, Translate},
    },
    respond::safe_return_to,
    store::backend::Backend,
};

const SMALLEST: usize = 1 << 10;
const LARGEST: usize = 1 << 20;

/// What becomes of forms that come too late.
impl SessionTimeoutBuilder {
    /// Keeps what a user sends with a form after the session has ended by a timeout, and shows it to the same user after the
    /// next log-in, to be sent then (WCAG 2.2, 2.2.5; techniques G105 and G181). Nobody needs a script for that.
    ///
    /// It comes last, for what it builds reads request bodies: a [`FormRescueLayer`] in place of the
    /// [`SessionTimeoutLayer`](crate::SessionTimeoutLayer). It needs [`cookie`](Self::cookie) and
    /// [`client_endpoints`](Self::client_endpoints), below which its page is (`unsent`), and sessions with an owner.
    ///
    /// ```
    /// use tower_session_timeout::{ClientEndpoints, RescueForms, SessionTimeoutLayer};
    ///
    /// # let secret_of_all_processes = [7; 32];
    /// let layer = SessionTimeoutLayer::builder()
    ///     .cookie("sid")
    ///     .login_path("/login")
    ///     .client_endpoints(ClientEndpoints::at("/_session-timeout").secret(secret_of_all_processes))
    ///     .rescue_forms(RescueForms::new().never_keep(["social-security-number"]))
    ///     .build()?;
    /// # Ok::<_, tower_session_timeout::ConfigError>(())
    /// ```
    ///
    /// # How it goes
    ///
    /// A `POST` of `application/x-www-form-urlencoded` or `multipart/form-data`, by which a browser leaves a page of this site, is
    /// kept if the layer refuses it because its session has ended by a timeout, or is forgotten; or if it has no session, its path is
    /// not public, and the application redirects it to the [`login_path`](Self::login_path). (Not with a password in it: that is a
    /// log-in which failed.) The answer is the log-in page, as ever, with the page of the form as its `next`
    /// ([`Ended::return_to`](crate::Ended::return_to)), to which the log-in has to lead. What comes in a live session is the
    /// application's, wherever that sends the browser.
    ///
    /// It is kept for the session's owner, whose browser then knows whom it had last by a cookie (`user-` and the session cookie's name),
    /// until its user logs out: where the store has forgotten the session, that decides. The cookie lets its browser leave forms for
    /// that user, and see none.
    ///
    /// The page shows the fields, sends them where they were going if its user presses *Send it now*, and throws them away at
    /// *Discard it*. It sends nothing by itself. A form is gone once the application has taken it (a status below 400, but for `307`
    /// and `308`), after a day, and when its user logs out. By the `Referer` it is known what is sent from there: who has a proxy remove it can send
    /// a form twice by pressing twice.
    ///
    /// What is refused and cannot be kept is shown to its sender at once, with the reason, to be copied: more than the
    /// [limit](RescueForms::limit), more than 500 fields, the fifth form of a user, any form while the place for them fails, and what
    /// comes after the session was ended otherwise.
    ///
    /// Forms are sealed with a key of their user's that is derived from the
    /// [secret of the endpoints](crate::ClientEndpoints::secret). Inside another layer for the same cookie it keeps nothing.
    pub fn rescue_forms(self, rescue: RescueForms) -> FormRescueBuilder {
        FormRescueBuilder(Self { rescue: Some(rescue), ..self })
    }
}

/// Builds a [`FormRescueLayer`].
#[must_use = "a builder does nothing until `build`"]
#[derive(Debug)]
pub struct FormRescueBuilder(SessionTimeoutBuilder);

impl FormRescueBuilder {
    /// Checks the configuration and makes the layer.
    ///
    /// # Errors
    ///
    /// Says which value is wrong, and why.
    pub fn build(self) -> Result<FormRescueLayer, ConfigError> {
        Ok(FormRescueLayer::new(self.0.build()?))
    }
}

/// How forms that come too late are kept, and shown: for [`SessionTimeoutBuilder::rescue_forms`].
#[must_use = "it is for `SessionTimeoutBuilder::rescue_forms`"]
pub struct RescueForms {
    limit: usize,
    backend: Option<Arc<dyn Backend>>,
    secrets: Secrets,
    csrf: Option<(String, FreshToken)>,
    stylesheet: Option<String>,
    translate: Option<Translate>,
}

impl Default for RescueForms {
    fn default() -> Self {
        Self::new()
    }
}

impl RescueForms {
    /// With the defaults.
    pub fn new() -> Self {
        Self {
            limit: 64 << 10,
            backend: None,
            secrets: Secrets::default(),
            csrf: None,
            stylesheet: None,
            translate: None,
        }
    }

    /// How long a form may be, as it is sent, files included. Default: 64 KiB; from 1 KiB to 1 MiB.
    pub fn limit(self, bytes: usize) -> Self {
        Self { limit: bytes, ..self }
    }

    /// Where forms are kept. Default: [`MemoryForms`], which is for one process. Several processes need a place they share, and
    /// the same [secret](crate::ClientEndpoints::secret).
    pub fn keep_in(self, backend: impl Backend) -> Self {
        Self { backend: Some(Arc::new(backend)), ..self }
    }

    /// The names of fields that are never kept, beside those that are known for passwords, one-time codes and card numbers by
    /// their names (`password`, `otp`, `cvc` and the like), and card numbers under any name. Calls add up.
    pub fn never_keep<N: Into<String>>(mut self, fields: impl IntoIterator<Item = N>) -> Self {
        self.secrets.named.extend(fields.into_iter().map(Into::into));
        self
    }

    /// The field with the application's token against cross-site forms, and how the new session's is told from the request for
    /// the page. Without it, a form is sent with the old one, which the application may refuse: then its user has to copy the
    /// fields into the form.
    ///
    /// ```
    /// use tower_session_timeout::{RequestHead, RescueForms};
    ///
    /// // Django takes the secret in its cookie for a token.
    /// fn token(head: &RequestHead<'_>) -> Option<String> {
    ///     let cookies = head.headers().get("cookie")?.to_str().ok()?;
    ///     cookies.split("; ").find_map(|pair| pair.strip_prefix("csrftoken=")).map(str::to_owned)
    /// }
    /// let rescue = RescueForms::new().csrf("csrfmiddlewaretoken", token);
    /// ```
    pub fn csrf(
        self,
        field: impl Into<String>,
        token: impl Fn(&RequestHead<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let field = field.into();
        let secrets = Secrets { token: Some(field.clone()), ..self.secrets };
        Self { csrf: Some((field, Box::new(token))), secrets, ..self }
    }

    /// The path of the application's stylesheet. Default: a plain style of the page's own, for light and dark.
    pub fn stylesheet(self, path: impl Into<String>) -> Self {
        Self { stylesheet: Some(path.into()), ..self }
    }

    /// What the page says, for whoever asks; where it gives `None`, the page [says it in English](RescueText::in_english).
    ///
    /// ```
    /// use tower_session_timeout::{RescueForms, RescueText};
    ///
    /// let rescue = RescueForms::new().texts(|_, text| match text {
    ///     RescueText::Language => Some("de".to_owned()),
    ///     RescueText::Send => Some("Jetzt senden".to_owned()),
    ///     _ => None,
    /// });
    /// ```
    pub fn texts(
        self,
        translate: impl Fn(&RequestHead<'_>, RescueText) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { translate: Some(Box::new(translate)), ..self }
    }

    pub(super) fn validate(&self, has_cookie: bool, has_endpoints: bool) -> Result<(), ConfigError> {
        if !has_cookie {
            return Err(ConfigError::RescueWithoutCookie);
        }
        if !has_endpoints {
            return Err(ConfigError::RescueWithoutEndpoints);
        }
        if !(SMALLEST..=LARGEST).contains(&self.limit) {
            return Err(ConfigError::RescueLimitOutOfRange { bytes: self.limit });
        }
        if let Some(path) = &self.stylesheet
            && safe_return_to(path).is_none()
        {
            return Err(ConfigError::UnsafePath { which: "stylesheet", path: path.clone() });
        }
        Ok(())
    }

    pub(super) fn made(self, client: &Client, cookies: CompanionCookies, deadline: Duration) -> Rescue {
        Rescue {
            page: format!("{}/unsent", client.base).into(),
            limit: self.limit,
            deadline,
            backend: self.backend.unwrap_or_else(|| Arc::new(MemoryForms::new())),
            secret: client.secret.derived(b"rescue"),
            cookies,
            secrets: self.secrets,
            csrf: self.csrf,
            stylesheet: self.stylesheet,
            translate: self.translate,
        }
    }
}

impl fmt::Debug for RescueForms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RescueForms").field("limit", &self.limit).finish_non_exhaustive()
    }
}
