namespace Yarnish;

/// <summary>A whole file as a row.</summary>
/// <param name="Path">Its full path.</param>
/// <param name="Content">What is in it.</param>
/// <typeparam name="T"><c>byte[]</c> or <c>string</c>.</typeparam>
public sealed record FileContent<T>(string Path, T Content);
