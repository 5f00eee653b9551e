/**
 * Imports run one way: doors, then what a chat is, then the ground. The files directly in `src` put the parts
 * together, and only they and the doors of the program may know all of them.
 */
const GROUND = '^src/(errors|config|database|graphql|events|version\\.ts)';
const CHAT = '^src/(auth|users|contacts|calls|conversations|messages|receipts|presence)/';
const LEGACY = '^src/legacy/';
const CHANGEOVER = '^src/changeover/';

const only = (name, from, to) => ({
  name,
  severity: 'error',
  from: { path: from },
  to: { path: '^src/', pathNot: to },
});

module.exports = {
  forbidden: [
    {
      name: 'no-circles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    only('ground-stands-on-ground', GROUND, [GROUND]),
    only('chat-does-not-know-the-doors', CHAT, [GROUND, CHAT]),
    only('legacy-does-not-know-the-changeover', LEGACY, [GROUND, CHAT, LEGACY]),
    only('changeover-knows-legacy-and-below', CHANGEOVER, [GROUND, CHAT, LEGACY, CHANGEOVER]),
    only('operators-know-no-other-door', '^src/operators/', [
      GROUND,
      CHAT,
      LEGACY,
      CHANGEOVER,
      '^src/operators/',
    ]),
    only('web-knows-no-other-door-but-the-changeover', '^src/web/', [
      GROUND,
      CHAT,
      CHANGEOVER,
      '^src/web/',
      '^src/app\\.module',
    ]),
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '\\.spec\\.ts$' },
    enhancedResolveOptions: { extensions: ['.ts', '.js'] },
  },
};
