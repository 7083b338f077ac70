const globals = Object.fromEntries(
  `AbortSignal BroadcastChannel CSSStyleSheet CustomEvent Element Event HTMLElement HTMLFormElement Intl Promise
  TextDecoder TextEncoder URL addEventListener atob btoa clearTimeout crypto document fetch getComputedStyle
  localStorage location performance PerformanceObserver self sessionStorage setTimeout top window`
    .split(/\s+/)
    .map((name) => [name, 'readonly']),
);

export default [
  {
    files: ['**/page/*.js'],
    languageOptions: { ecmaVersion: 2022, sourceType: 'module', globals },
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-implied-eval': 'error',
      'no-undef': 'error',
      'no-unused-vars': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'no-restricted-properties': ['error', { property: 'innerHTML' }, { property: 'outerHTML' }],
    },
  },
];
