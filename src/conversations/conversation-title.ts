import type { GraphQLContext } from '../auth/viewer.js';
import type { UserLookup } from '../users/user-lookup.js';
import type { ConversationRow } from './conversation-reader.js';
import type { ConversationsService } from './conversations.service.js';

/** The most names that stand in a title. */
const MOST_NAMES = 3;

/** What a list shows for a conversation: the group's name, else the others' names, as the viewer may know them. */
export async function titleOf(
  row: ConversationRow,
  context: GraphQLContext,
  conversations: ConversationsService,
  users: UserLookup,
): Promise<string> {
  if (row.name !== null) return row.name;
  const members = await conversations.members(context.loaders, row);
  const others = members.filter(({ userId }) => userId !== row.viewerId);
  // Notes to oneself are called by one's own name.
  const named = others.length === 0 ? members : others;
  const names = await Promise.all(
    named.slice(0, MOST_NAMES).map(async ({ userId, isVacant }) => {
      const user = isVacant ? null : await users.find(userId, context.loaders);
      return user === null ? 'Unknown' : users.nameFor(user, context);
    }),
  );
  const more = named.length - names.length;
  if (names.length === 0) return 'Group';
  return more > 0 ? `${names.join(', ')} and ${more} more` : names.join(', ');
}
