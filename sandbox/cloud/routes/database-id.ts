/** The parameters of a route for one database cluster. */
export interface DatabaseId {
  Params: { id: string };
}
