export interface StoredFile {
  storageId: string;
  sha256: string;
  size: number;
}

/** The contents of uploaded files; their metadata is in the database. */
export interface FileStorage {
  /** Writes the whole file, or nothing. */
  store: (body: AsyncIterable<Uint8Array>) => Promise<StoredFile>;
  read: (storageId: string) => Promise<ReadableStream<Uint8Array>>;
}
