/** What both scripts know drafts by. */

export const FORM = 'form[data-session-draft]';
/** Drafts, in the storage that all tabs share. */
export const PREFIX = 'session-timeout:draft:';
/** Begins the name of who a draft is of where that is a session, and no user is known. */
export const OF_SESSION = '~';
/** In the tab's own storage: what another tab loads settles nothing. */
export const SUBMITTED = 'session-timeout:sent';
