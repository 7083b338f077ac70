/** What both scripts know drafts by. */

export const FORM = 'form[data-session-draft]';
/** Drafts, in the storage that all tabs share. */
export const PREFIX = 'session-timeout:draft:';
/** In the tab's own storage: what another tab loads settles nothing. */
export const SUBMITTED = 'session-timeout:submitted';
