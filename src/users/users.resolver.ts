import { UseGuards } from '@nestjs/common';
import { Args, Context, ID, Parent, Query, ResolveField, Resolver } from '@nestjs/graphql';
import { type GraphQLContext, SignedInGuard, Viewer } from '../auth/viewer.js';
import { UserLookup } from './user-lookup.js';
import { User } from './user.type.js';
import { ViewerIndependent } from '../graphql/viewer-independence.js';

/** People, as the signed-in person sees them. */
@Resolver(() => User)
export class UsersResolver {
  constructor(private readonly lookup: UserLookup) {}

  @Query(() => User, { description: 'The signed-in person.' })
  @UseGuards(SignedInGuard)
  me(@Viewer() viewer: Viewer, @Context() context: GraphQLContext): Promise<User> {
    return this.lookup.get(viewer.id, context.loaders);
  }

  @Query(() => User, { nullable: true, description: 'A person by id; null when there is none.' })
  @UseGuards(SignedInGuard)
  user(
    @Args('id', { type: () => ID }) id: string,
    @Context() context: GraphQLContext,
  ): Promise<User | null> {
    return this.lookup.findById(id, context.loaders);
  }

  @Query(() => User, {
    nullable: true,
    description:
      'A person by phone number, in E.164 or in the form that the database holds; null when there is none.',
  })
  @UseGuards(SignedInGuard)
  userByPhone(
    @Args('phone') phone: string,
    @Context() context: GraphQLContext,
  ): Promise<User | null> {
    return this.lookup.findByPhone(phone, context.loaders);
  }

  @ViewerIndependent()
  @ResolveField(() => String, {
    description:
      'The name, else the username, else the phone number where the viewer may see it, else "Unknown".',
  })
  name(@Parent() user: User, @Context() context: GraphQLContext): Promise<string> {
    return this.lookup.nameFor(user, context);
  }

  @ResolveField(() => String, {
    nullable: true,
    description: 'To oneself and to people who have the number in their contacts, else null.',
  })
  phone(@Parent() user: User, @Context() context: GraphQLContext): Promise<string | null> {
    return this.lookup.phoneFor(user, context);
  }
}
