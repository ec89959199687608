import { v } from "convex/values";

import { internalMutation, mutation, query } from "./_generated/server.js";

/** The newest messages, at most 100. */
export const list = query({
  args: {},
  handler: (ctx) => ctx.db.query("messages").order("desc").take(100),
});

export const send = mutation({
  args: { author: v.string(), body: v.string() },
  handler: (ctx, message) => ctx.db.insert("messages", message),
});

/** For `npx convex run messages:removeBy` and other functions only. */
export const removeBy = internalMutation({
  args: { author: v.string() },
  handler: async (ctx, { author }) => {
    const messages = ctx.db.query("messages").withIndex("by_author", (q) => q.eq("author", author));
    for await (const { _id } of messages) await ctx.db.delete(_id);
  },
});
