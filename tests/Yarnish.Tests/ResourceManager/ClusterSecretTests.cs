using System.Security.Cryptography;
using System.Text;
using Xunit;
using Yarnish.Protocol;

namespace Yarnish.Tests.ResourceManager;

public sealed class ClusterSecretTests
{
    [Fact]
    public void Tokens_are_keyed_hashes_of_a_fixed_purpose()
    {
        using var hash = new HMACSHA256(Encoding.UTF8.GetBytes("s3cret"));
        Assert.Equal(Convert.ToHexStringLower(hash.ComputeHash(Encoding.UTF8.GetBytes("yarnish-api-v1"))), ClusterSecret.ApiToken("s3cret"));
        Assert.Equal(
            Convert.ToHexStringLower(hash.ComputeHash(Encoding.UTF8.GetBytes("yarnish-app-v1|app-1"))),
            ClusterSecret.ApplicationToken("s3cret", new ApplicationId("app-1")));
    }

    [Fact]
    public void Tokens_of_two_applications_differ_and_neither_is_the_api_token()
    {
        var tokens = new HashSet<string>
        {
            ClusterSecret.ApiToken("k"),
            ClusterSecret.ApplicationToken("k", new ApplicationId("a")),
            ClusterSecret.ApplicationToken("k", new ApplicationId("b")),
        };
        Assert.Equal(3, tokens.Count);
    }

    [Fact]
    public void Without_a_secret_there_is_no_token_and_everyone_is_let_in()
    {
        Assert.Equal("", ClusterSecret.ApiToken(""));
        Assert.True(ClusterSecret.Accepts(null, ClusterSecret.ApiToken("")));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("Bearer")]
    [InlineData("Bearer ")]
    [InlineData("Bearer nonsense")]
    [InlineData("Basic dXNlcjpwYXNz")]
    public void A_request_without_the_token_is_not_accepted(string? header) =>
        Assert.False(ClusterSecret.Accepts(header, ClusterSecret.ApiToken("k")));

    [Fact]
    public void The_right_token_is_accepted_and_the_raw_secret_is_not()
    {
        var token = ClusterSecret.ApiToken("k");
        Assert.True(ClusterSecret.Accepts("Bearer " + token, token));
        Assert.True(ClusterSecret.Accepts("bearer " + token, token));
        Assert.False(ClusterSecret.Accepts("Bearer k", token));
        Assert.False(ClusterSecret.Accepts("Bearer " + token[..63], token));
    }
}
