using System.Security.Cryptography;
using System.Text;

namespace Yarnish.Protocol;

/// <summary>
/// What is derived from the one secret of a cluster. The secret itself never travels: HTTP requests carry a token that is a keyed hash of it, so a log
/// line or a captured request does not give away the key that signs control messages. An empty secret means that there is no protection; it is
/// accepted on loopback only.
/// </summary>
public static class ClusterSecret
{
    /// <summary>
    /// The bearer token of the REST interface: lower-case hexadecimal HMAC-SHA256 of <c>yarnish-api-v1</c>, 64 characters; empty when the secret is empty.
    /// </summary>
    public static string ApiToken(string secret) => Derive(secret, "yarnish-api-v1");

    /// <summary>
    /// The bearer token that opens the blocks and files of one application and nothing else: lower-case hexadecimal HMAC-SHA256 of
    /// <c>yarnish-app-v1|</c> and the application id, 64 characters; empty when the secret is empty.
    /// </summary>
    public static string ApplicationToken(string secret, ApplicationId application) => Derive(secret, "yarnish-app-v1|" + application);

    /// <summary>
    /// Whether an <c>Authorization</c> header carries the token. Compares in a time that does not depend on where the two differ.
    /// </summary>
    /// <param name="authorization">The whole header value, such as <c>Bearer 3f…</c>; null when there was none.</param>
    /// <param name="token">The token wanted; empty accepts every request, since then the cluster has no secret.</param>
    public static bool Accepts(string? authorization, string token)
    {
        if (token.Length == 0)
        {
            return true;
        }
        const string scheme = "Bearer ";
        return authorization is not null
            && authorization.StartsWith(scheme, StringComparison.OrdinalIgnoreCase)
            && FixedTimeEquals(authorization.AsSpan(scheme.Length).Trim(), token);
    }

    private static bool FixedTimeEquals(ReadOnlySpan<char> given, string wanted)
    {
        // Hashing first makes both sides equally long, whatever was sent.
        Span<byte> left = stackalloc byte[SHA256.HashSizeInBytes];
        Span<byte> right = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes(given.ToString()), left);
        SHA256.HashData(Encoding.UTF8.GetBytes(wanted), right);
        return CryptographicOperations.FixedTimeEquals(left, right);
    }

    private static string Derive(string secret, string purpose)
    {
        ArgumentNullException.ThrowIfNull(secret);
        return secret.Length == 0
            ? ""
            : Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), Encoding.UTF8.GetBytes(purpose)));
    }
}
