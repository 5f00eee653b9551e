import { describe, expect, it } from '@jest/globals';
import { firesOnAnyUpdate } from '../../src/changeover/expand.js';

describe('an old trigger', () => {
  it.each([
    ['CREATE TRIGGER t AFTER UPDATE ON messages BEGIN SELECT 1; END', true],
    ['CREATE TRIGGER t AFTER update\n  ON messages BEGIN SELECT 1; END', true],
    ['CREATE TRIGGER t AFTER UPDATE/* of status */ON messages BEGIN SELECT 1; END', true],
    ['CREATE TRIGGER t AFTER UPDATE -- OF status\n ON messages BEGIN SELECT 1; END', true],
    [
      'CREATE TRIGGER t BEFORE INSERT OR UPDATE ON public.messages FOR EACH ROW EXECUTE FUNCTION f()',
      true,
    ],
    ['CREATE TRIGGER t AFTER UPDATE OR DELETE ON messages FOR EACH ROW EXECUTE FUNCTION f()', true],
    ['CREATE TRIGGER t AFTER UPDATE OF status, content ON messages BEGIN SELECT 1; END', false],
    ['CREATE TRIGGER t AFTER INSERT ON messages BEGIN UPDATE users SET name = 1; END', false],
    ['CREATE TRIGGER t AFTER DELETE ON messages FOR EACH ROW EXECUTE FUNCTION f()', false],
  ])('%s fires when conversation_id is filled: %s', (definition, fires) => {
    expect(firesOnAnyUpdate(definition)).toBe(fires);
  });
});
